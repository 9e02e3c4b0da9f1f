module k8s-relay/compat/regexp

go 1.26.0
