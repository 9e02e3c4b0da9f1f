{{- define "k8s-relay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "k8s-relay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "k8s-relay.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "k8s-relay.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "k8s-relay.selectorLabels" -}}
app.kubernetes.io/name: {{ include "k8s-relay.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "k8s-relay.labels" -}}
{{ include "k8s-relay.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "k8s-relay.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "k8s-relay.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image by its digest, else by its tag. */}}
{{- define "k8s-relay.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .default .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "k8s-relay.hasWatcher" -}}
{{- if has .Values.mode (list "legacy-sidecar" "shadow") }}yes{{ end -}}
{{- end -}}

{{- define "k8s-relay.enriches" -}}
{{- if has .Values.mode (list "enrichment" "enrichment-node") }}yes{{ end -}}
{{- end -}}

{{- define "k8s-relay.source" -}}
{{- if include "k8s-relay.enriches" . }}none{{ else if eq .Values.mode "legacy-sidecar" }}legacy{{ else }}{{ .Values.mode }}{{ end -}}
{{- end -}}

{{/* The config file: the labels and the profiles, with the user's keys over both. */}}
{{- define "k8s-relay.config" -}}
{{- $config := dict -}}
{{- if include "k8s-relay.enriches" . -}}
{{- $ofNode := dict "default" (dict "scope" "node" "metricsets" (list "pod" "container" "node")) -}}
{{- $usual := ternary $ofNode dict (eq .Values.mode "enrichment-node") -}}
{{- $_ := set $config "enrichment" (dict "profiles" (default $usual .Values.enrichment.profiles)) -}}
{{- else if .Values.clusterName -}}
{{- $_ := set $config "labels" (dict "environment" .Values.clusterName) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config .Values.config) -}}
{{- end -}}

{{/* The rules of one Lease: the rows of the second table in docs/operations.md. */}}
{{- define "k8s-relay.leaseRules" -}}
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  resourceNames: [{{ include "k8s-relay.fullname" . | quote }}]
  verbs: ["get", "update", "watch", "list"]
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["create"]
{{- end -}}

{{/* The rules of a mode: the rows of the table in docs/operations.md. */}}
{{- define "k8s-relay.rules" -}}
{{- if eq .Values.mode "enrichment" -}}
- apiGroups: [""]
  resources: ["pods", "nodes", "namespaces", "services", "persistentvolumes", "persistentvolumeclaims"]
  verbs: ["list", "watch"]
- apiGroups: ["apps"]
  resources: ["replicasets", "deployments", "statefulsets", "daemonsets"]
  verbs: ["list", "watch"]
- apiGroups: ["batch"]
  resources: ["jobs", "cronjobs"]
  verbs: ["list", "watch"]
- apiGroups: ["storage.k8s.io"]
  resources: ["storageclasses"]
  verbs: ["list", "watch"]
{{- else if eq .Values.mode "enrichment-node" -}}
- apiGroups: [""]
  resources: ["pods", "nodes", "namespaces"]
  verbs: ["list", "watch"]
- apiGroups: ["apps"]
  resources: ["replicasets"]
  verbs: ["list", "watch"]
- apiGroups: ["batch"]
  resources: ["jobs"]
  verbs: ["list", "watch"]
{{- else -}}
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
- apiGroups: ["apps"]
  resources: ["replicasets"]
  verbs: ["list", "watch"]
- apiGroups: ["batch"]
  resources: ["jobs"]
  verbs: ["list", "watch"]
{{- end -}}
{{- end -}}
