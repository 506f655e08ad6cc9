package stack

import (
	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// filterPolicy returns the filter as a policy of SNS on message attributes.
// https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
func filterPolicy(f events.Filter) (string, error) {
	policy := struct {
		Type    []string      `json:"type"`
		Persons []string      `json:"person,omitempty"`
		Flavors []string      `json:"flavor,omitempty"`
		Kinds   []events.Kind `json:"kind,omitempty"`
	}{[]string{events.ChangeType}, f.Persons, f.Flavors, f.Kinds}
	b, err := json.Marshal(policy)
	return string(b), err
}
