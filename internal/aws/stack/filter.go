package stack

import (
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// Filter chooses changes. An empty list chooses all.
type Filter struct {
	Persons []string
	Flavors []string // that are the favorite now
	Kinds   []events.Kind
}

// Takes tells whether a change is chosen.
func (f Filter) Takes(c events.Change) bool {
	return takes(f.Persons, c.Person) && takes(f.Flavors, c.Flavor) && takes(f.Kinds, c.Kind)
}

func takes[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}

// policy is the filter for SNS, on message attributes.
// https://docs.aws.amazon.com/sns/latest/dg/string-value-matching.html
func (f Filter) policy() (string, error) {
	policy := struct {
		Type    []string      `json:"type"`
		Persons []string      `json:"person,omitempty"`
		Flavors []string      `json:"flavor,omitempty"`
		Kinds   []events.Kind `json:"kind,omitempty"`
	}{[]string{events.ChangeType}, f.Persons, f.Flavors, f.Kinds}
	b, err := json.Marshal(policy)
	return string(b), err
}
