package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Policy is a policy document of a role, a queue or a topic, or one that an authorizer returns.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type Policy struct {
	Statements []Statement
}

// Statement is a statement of a policy.
type Statement struct {
	Effect     string
	Actions    []string
	Resources  []string
	Principals []string // such as "Service:sns.amazonaws.com", or "*"; none in the policy of a role
	Conditions map[string]map[string][]string
}

// Decision is the decision of a policy about a request.
type Decision int

// The decisions. ImplicitDeny means that no statement applies to the request.
const (
	ImplicitDeny Decision = iota
	Allow
	ExplicitDeny
)

// Request is a request to authorize.
type Request struct {
	Action, Resource string
	Principal        string            // only for policies that have principals
	Context          map[string]string // values of condition keys
}

// ParsePolicy parses a document in which intrinsic functions are resolved.
func ParsePolicy(document any) (Policy, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return Policy{}, err
	}
	var file struct {
		Version, ID string
		Statement   []map[string]any
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return Policy{}, fmt.Errorf("parsing a policy: %w", err)
	}
	if file.Version != "2012-10-17" {
		return Policy{}, fmt.Errorf("the policy has version %q, want 2012-10-17", file.Version)
	}
	var p Policy
	for _, raw := range file.Statement {
		s, err := parseStatement(raw)
		if err != nil {
			return Policy{}, fmt.Errorf("statement %v: %w", raw, err)
		}
		p.Statements = append(p.Statements, s)
	}
	return p, nil
}

func parseStatement(raw map[string]any) (s Statement, err error) {
	for key, v := range raw {
		switch key {
		case "Sid":
		case "Effect":
			s.Effect, _ = v.(string)
		case "Action":
			s.Actions, err = stringList(v)
		case "Resource":
			s.Resources, err = stringList(v)
		case "Principal":
			s.Principals, err = principals(v)
		case "Condition":
			s.Conditions, err = conditions(v)
		default:
			err = fmt.Errorf("the member %s is not supported", key)
		}
		if err != nil {
			return s, err
		}
	}
	if s.Effect != "Allow" && s.Effect != "Deny" || len(s.Actions) == 0 || len(s.Resources) == 0 {
		return s, errors.New("a statement needs an effect, actions and resources")
	}
	return s, nil
}

func principals(v any) (out []string, err error) {
	kinds, ok := v.(map[string]any)
	if !ok {
		return stringList(v)
	}
	for kind, names := range kinds {
		list, err := stringList(names)
		if err != nil {
			return nil, err
		}
		for _, name := range list {
			out = append(out, kind+":"+name)
		}
	}
	return out, nil
}

func conditions(v any) (map[string]map[string][]string, error) {
	out := map[string]map[string][]string{}
	operators, _ := v.(map[string]any)
	for operator, keys := range operators {
		out[operator] = map[string][]string{}
		byKey, _ := keys.(map[string]any)
		for key, values := range byKey {
			switch plain := values.(type) {
			case bool, float64:
				values = fmt.Sprint(plain)
			}
			list, err := stringList(values)
			if err != nil {
				return nil, err
			}
			out[operator][key] = list
		}
	}
	return out, nil
}

// Decide returns the decision about a request. An explicit denial overrides all statements that allow it.
func (p Policy) Decide(r Request) (Decision, error) {
	decision := ImplicitDeny
	for _, s := range p.Statements {
		applies, err := s.Applies(r)
		switch {
		case err != nil:
			return ImplicitDeny, err
		case applies && s.Effect == "Deny":
			return ExplicitDeny, nil
		case applies:
			decision = Allow
		}
	}
	return decision, nil
}

// Applies reports whether the statement applies to the request. A condition operator that is not supported is an error.
func (s Statement) Applies(r Request) (bool, error) {
	if len(s.Principals) > 0 && !anyMatch(s.Principals, r.Principal, Wildcard) ||
		!anyMatch(s.Actions, r.Action, wildcardFold) || !anyMatch(s.Resources, r.Resource, MatchARN) {
		return false, nil
	}
	for operator, keys := range s.Conditions {
		name := strings.Replace(operator, "StringNot", "String", 1)
		match, ok := conditionOperators[name]
		if !ok {
			return false, fmt.Errorf("the condition operator %s is not supported", operator)
		}
		negated := name != operator
		for key, patterns := range keys {
			// A negated operator is also true for a request without the key.
			if value, ok := r.Context[key]; (ok && anyMatch(patterns, value, match)) == negated {
				return false, nil
			}
		}
	}
	return true, nil
}

// conditionOperators compare a value of a policy with one of a request. ArnEquals and ArnLike are the same.
var conditionOperators = map[string]func(pattern, text string) bool{
	"StringEquals": func(pattern, text string) bool { return pattern == text },
	"StringLike":   Wildcard, "ArnEquals": MatchARN, "ArnLike": MatchARN, "Bool": strings.EqualFold,
}

func anyMatch(patterns []string, text string, match func(pattern, text string) bool) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, text) })
}

// Wildcard reports whether a text matches a pattern in which * matches any text and ? any character.
func Wildcard(pattern, text string) bool {
	for len(pattern) > 0 {
		switch {
		case pattern[0] == '*':
			for i := 0; i <= len(text); i++ {
				if Wildcard(pattern[1:], text[i:]) {
					return true
				}
			}
			return false
		case text == "" || pattern[0] != '?' && pattern[0] != text[0]:
			return false
		}
		pattern, text = pattern[1:], text[1:]
	}
	return text == ""
}

// wildcardFold is Wildcard without regard to case, for actions.
func wildcardFold(pattern, text string) bool {
	return Wildcard(strings.ToLower(pattern), strings.ToLower(text))
}

// MatchARN is Wildcard for ARNs: a * matches no colon, except in the last segment, the resource.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func MatchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	p, a := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(p) != 6 || len(a) != 6 {
		return pattern == arn
	}
	for i := range p {
		if !Wildcard(p[i], a[i]) {
			return false
		}
	}
	return true
}
