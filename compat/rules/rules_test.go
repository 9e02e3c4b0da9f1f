// Package rules shows that each alert of deploy/observability fires on a history in which
// something is wrong, and none on a healthy one, as Prometheus itself evaluates them.
package rules

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const (
	file = "../../deploy/observability/rules.yaml"
	// The history is so long, and goes wrong in its sixtieth minute.
	minutes = 180
	wrongAt = 60
	target  = `job="k8s-relay",instance="relay-0"`
)

// What a relay in the stage legacy shows in addition; healthy.prom is one that compares again after
// a cutover.
var more = []string{
	`k8s_relay_auto_suspended{reason="rollbacks"} 0`,
	`k8s_relay_auto_suspended{reason="operator"} 0`,
}

// Buckets of events grow with each minute, all else stands still: a scrape says what is, and the
// alerts ask for changes.
var grows = regexp.MustCompile(`^k8s_relay_event_lag_seconds_`)

// history gives the load command of promqltest for the recorded scrape, with these faults.
func history(t *testing.T, faults []fault) string {
	scrape, err := os.ReadFile("healthy.prom")
	if err != nil {
		t.Fatal(err)
	}
	lines := append(strings.Split(strings.TrimSpace(string(scrape)), "\n"), more...)
	var load strings.Builder
	load.WriteString("load 1m\n")
	used := 0
	for _, line := range lines {
		at := strings.LastIndex(line, " ")
		series, value := line[:at], line[at+1:]
		name, set, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		step := "0"
		if grows.MatchString(series) {
			step = value
		}
		then := ""
		for _, fault := range faults {
			if fault.series == series || fault.series == name && !strings.Contains(fault.series, "{") {
				then = fault.then
				used++
			}
		}
		values := fmt.Sprintf("%s+%sx%d", value, step, minutes)
		if then != "" {
			values = fmt.Sprintf("%s+%sx%d %s", value, step, wrongAt-1, then)
		}
		all := target
		if set != "" {
			all += "," + set
		}
		fmt.Fprintf(&load, "  %s{%s} %s\n", name, all, values)
	}
	if used != len(faults) {
		t.Fatalf("%d of %d series of the faults are in the recorded history: %v", used, len(faults), faults)
	}
	return load.String()
}

// play evaluates all rules each minute; each recording rule must have recorded something. It gives the
// alerts that fired at some time with the first minute of each, and the names of all.
func play(t *testing.T, faults []fault) (map[string]int, []string) {
	storage := promqltest.LoadedStorage(t, history(t, faults))
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 0, 1_000_000)
	query := rules.EngineQueryFunc(engine, storage)
	manager := rules.NewManager(&rules.ManagerOptions{
		AppendableV2: storage,
		Queryable:    storage,
		QueryFunc:    query,
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Context:      t.Context(),
		Logger:       slog.New(slog.DiscardHandler),
		Parser:       parser.NewParser(parser.Options{}),
	})
	loaded, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if errs != nil {
		t.Fatal(errs)
	}
	groups := make([]*rules.Group, 0, len(loaded))
	for _, group := range loaded {
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b *rules.Group) int { return strings.Compare(b.Name(), a.Name()) })
	fired, all := map[string]int{}, []string{}
	var at time.Time
	for minute := range minutes + 1 {
		at = time.Unix(0, 0).UTC().Add(time.Duration(minute) * time.Minute)
		for _, group := range groups {
			group.Eval(t.Context(), at)
			for _, rule := range group.Rules() {
				if rule.LastError() != nil {
					t.Fatalf("%s: %v", rule.Name(), rule.LastError())
				}
			}
			for _, rule := range group.AlertingRules() {
				if minute == 0 {
					all = append(all, rule.Name())
				}
				if _, before := fired[rule.Name()]; !before && rule.State() == rules.StateFiring {
					fired[rule.Name()] = minute
				}
			}
		}
	}
	for _, group := range groups {
		for _, rule := range group.Rules() {
			if _, records := rule.(*rules.RecordingRule); !records {
				continue
			}
			recorded, err := query(t.Context(), rule.Name(), at)
			if err != nil || len(recorded) == 0 {
				t.Errorf("%s records nothing: %v", rule.Name(), err)
			}
		}
	}
	return fired, all
}

func TestAHealthyRelayWakesNobody(t *testing.T) {
	fired, all := play(t, nil)
	if len(fired) > 0 || len(all) < 20 {
		t.Fatalf("of %d alerts fired: %v", len(all), fired)
	}
	for _, name := range all {
		if len(faults[name]) == 0 {
			t.Errorf("%s has no history on which it fires", name)
		}
	}
	for name := range faults {
		if !slices.Contains(all, name) {
			t.Errorf("there is no alert %s", name)
		}
	}
}

func TestEachAlertFiresOnItsHistoriesAndNotBefore(t *testing.T) {
	for name, histories := range faults {
		for _, history := range histories {
			t.Run(name, func(t *testing.T) {
				fired, _ := play(t, history)
				if minute, ok := fired[name]; !ok || minute < wrongAt {
					t.Errorf("fired: %v", fired)
				}
			})
		}
	}
}
