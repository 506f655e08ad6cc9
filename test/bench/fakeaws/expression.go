package fakeaws

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// request is an update or a put, with a condition.
type request struct {
	TableName                 string
	Key                       item
	Item                      item
	UpdateExpression          string
	ConditionExpression       string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]value
}

func (r *request) name(placeholder string) string {
	placeholder = strings.TrimSpace(placeholder)
	if name, ok := r.ExpressionAttributeNames[placeholder]; ok {
		return name
	}
	return placeholder
}

func (r *request) value(placeholder string) (value, error) {
	v, ok := r.ExpressionAttributeValues[strings.TrimSpace(placeholder)]
	if !ok {
		return v, fmt.Errorf("value %q is not given", placeholder)
	}
	return v, nil
}

var (
	clause   = regexp.MustCompile(`\b(SET|REMOVE|ADD) `)
	optional = regexp.MustCompile(`^if_not_exists\((\S+), (\S+)\)$`)
	function = regexp.MustCompile(`^(attribute_exists|attribute_not_exists)\((\S+)\)$`)
	compared = regexp.MustCompile(`^(\S+) (=|<) (\S+)$`)
)

// apply returns the item after the update. It supports SET a = :v, SET a = if_not_exists(a, :v), ADD a :n and REMOVE a.
func (r *request) apply(it item) (item, error) {
	changed := it
	if changed == nil {
		changed = r.Key
	}
	starts := clause.FindAllStringSubmatchIndex(r.UpdateExpression, -1)
	for n, at := range starts {
		end := len(r.UpdateExpression)
		if n+1 < len(starts) {
			end = starts[n+1][0]
		}
		verb := r.UpdateExpression[at[2]:at[3]]
		for _, action := range actions(r.UpdateExpression[at[1]:end]) {
			var err error
			if changed, err = r.act(changed, it, verb, action); err != nil {
				return nil, fmt.Errorf("%s %s: %w", verb, action, err)
			}
		}
	}
	return changed, nil
}

// actions splits a clause at the commas that are not in parentheses.
func actions(clause string) []string {
	var all []string
	depth, from := 0, 0
	for i, c := range clause {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			all, from = append(all, strings.TrimSpace(clause[from:i])), i+1
		}
	}
	return append(all, strings.TrimSpace(clause[from:]))
}

func (r *request) act(changed, before item, verb, action string) (item, error) {
	switch verb {
	case "REMOVE":
		return changed.without(r.name(action)), nil
	case "ADD":
		name, placeholder, _ := strings.Cut(action, " ")
		v, err := r.value(placeholder)
		if err != nil {
			return nil, err
		}
		sum, err := v.number()
		if err != nil {
			return nil, err
		}
		if old, ok := before.get(r.name(name)); ok {
			n, err := old.number()
			if err != nil {
				return nil, err
			}
			sum += n
		}
		return changed.with(r.name(name), value{'N', strconv.FormatInt(sum, 10)}), nil
	}
	name, operand, _ := strings.Cut(action, " = ")
	if m := optional.FindStringSubmatch(operand); m != nil {
		if old, ok := before.get(r.name(m[1])); ok {
			return changed.with(r.name(name), old), nil
		}
		operand = m[2]
	}
	v, err := r.value(operand)
	if err != nil {
		return nil, err
	}
	return changed.with(r.name(name), v), nil
}

// holds reports whether the item meets the condition. It supports attribute_exists, attribute_not_exists, = and <,
// joined by OR and AND.
func (r *request) holds(condition string, it item) (bool, error) {
	for _, either := range strings.Split(condition, " OR ") {
		all := true
		for _, term := range strings.Split(either, " AND ") {
			ok, err := r.term(term, it)
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		if all {
			return true, nil
		}
	}
	return condition == "", nil
}

func (r *request) term(term string, it item) (bool, error) {
	if term == "" {
		return true, nil
	}
	if m := function.FindStringSubmatch(term); m != nil {
		_, exists := it.get(r.name(m[2]))
		return exists == (m[1] == "attribute_exists"), nil
	}
	m := compared.FindStringSubmatch(term)
	if m == nil {
		return false, fmt.Errorf("condition %q is not implemented", term)
	}
	mine, exists := it.get(r.name(m[1]))
	other, err := r.value(m[3])
	if err != nil || !exists {
		return false, err
	}
	if m[2] == "=" {
		return mine == other, nil
	}
	return mine.text < other.text, nil // only strings are compared this way
}
