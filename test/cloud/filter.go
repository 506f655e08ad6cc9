package cloud

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Filter is the filter criteria of an event source: an event is taken if one of the patterns matches it, or if there are
// none. https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
type Filter []map[string]any

// parseFilter takes the FilterCriteria of a template. It refuses patterns that it would not understand.
func parseFilter(v any) (Filter, error) {
	if v == nil {
		return nil, nil
	}
	var criteria struct{ Filters []struct{ Pattern string } }
	if err := convert(v, &criteria); err != nil {
		return nil, err
	}
	var f Filter
	for _, one := range criteria.Filters {
		var pattern map[string]any
		if err := json.Unmarshal([]byte(one.Pattern), &pattern); err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", one.Pattern, err)
		}
		if err := check(pattern); err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", one.Pattern, err)
		}
		f = append(f, pattern)
	}
	return f, nil
}

// Takes says whether the filter lets an event pass.
func (f Filter) Takes(event map[string]any) bool {
	for _, pattern := range f {
		if matches(pattern, event) {
			return true
		}
	}
	return len(f) == 0
}

func check(pattern map[string]any) error {
	for key, rule := range pattern {
		switch rule := rule.(type) {
		case map[string]any:
			if err := check(rule); err != nil {
				return err
			}
		case []any:
			for _, r := range rule {
				special, is := r.(map[string]any)
				for name := range special {
					is = name != "exists" && name != "prefix" && name != "suffix" && name != "anything-but"
				}
				if is {
					return fmt.Errorf("the rule %v is not understood here", r)
				}
			}
		default:
			return fmt.Errorf("the rules of %s are no list", key)
		}
	}
	return nil
}

func matches(pattern, event map[string]any) bool {
	for key, rule := range pattern {
		value, there := event[key]
		switch rule := rule.(type) {
		case map[string]any:
			inner, _ := value.(map[string]any) // of a missing one too, for {"exists": false} within
			if !matches(rule, inner) {
				return false
			}
		case []any:
			found := false
			for _, r := range rule {
				found = found || matchesRule(r, value, there)
			}
			if !found {
				return false
			}
		}
	}
	return true
}

func matchesRule(rule, value any, there bool) bool {
	special, is := rule.(map[string]any)
	if !is {
		return there && reflect.DeepEqual(rule, value)
	}
	text, _ := value.(string)
	for name, arg := range special {
		switch name {
		case "exists":
			return there == arg
		case "prefix":
			prefix, _ := arg.(string)
			return there && strings.HasPrefix(text, prefix)
		case "suffix":
			suffix, _ := arg.(string)
			return there && strings.HasSuffix(text, suffix)
		case "anything-but":
			not, list := arg.([]any)
			if !list {
				not = []any{arg}
			}
			for _, n := range not {
				if reflect.DeepEqual(n, value) {
					return false
				}
			}
			return there
		}
	}
	return false
}

// convert takes what JSON gave for a type of ours, refusing members that the type does not have.
func convert(from, to any) error {
	body, err := json.Marshal(from)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}
