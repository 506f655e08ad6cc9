package template_test

import (
	"encoding/json"
	"slices"
	"testing"
)

// rule is a promise about the deployment. check returns what violates it, each violation with a logical id.
type rule struct {
	name      string
	check     func(*template) violations
	mutations []mutation // that check must find
}

// mutation breaks a good template in one way.
type mutation struct {
	name  string
	apply func(*template)
}

var rules = slices.Concat(
	queueRules, alarmRules, iamRules, subscriberRules, storageRules, functionRules, gatewayRules, stageRules,
)

func TestTemplate(t *testing.T) {
	tpl := compiledTemplate(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, violation := range r.check(tpl) {
				t.Error(violation)
			}
		})
	}
}

// TestMutations checks that each rule finds its mutations: a rule that can't fail protects nothing.
func TestMutations(t *testing.T) {
	for _, r := range rules {
		if len(r.mutations) == 0 {
			t.Errorf("the rule %q has no mutation", r.name)
		}
		for _, m := range r.mutations {
			t.Run(r.name+"/"+m.name, func(t *testing.T) {
				tpl := compiledTemplate(t)
				before := marshaled(t, tpl)
				m.apply(tpl)
				if marshaled(t, tpl) == before {
					t.Fatal("the mutation changed nothing")
				}
				if len(r.check(tpl)) == 0 {
					t.Error("the rule found no violation, want one")
				}
			})
		}
	}
}

func marshaled(t *testing.T, v any) string {
	t.Helper()
	src, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// checkRules reports the violations of all rules.
func checkRules(t *testing.T, tpl *template) {
	t.Helper()
	for _, r := range rules {
		for _, violation := range r.check(tpl) {
			t.Errorf("%s: %s", r.name, violation)
		}
	}
}
