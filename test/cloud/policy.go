package cloud

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Policy is a policy document: of a role, of a queue, or the one that an authorizer returns.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type Policy struct {
	Statements []Statement
}

// Statement is one of its statements.
type Statement struct {
	Effect     string
	Actions    []string
	Resources  []string
	Principals []string // as "Service:sns.amazonaws.com", or "*"; none in the policy of a role
	Conditions map[string]map[string][]string
}

// Decision is what a policy says of a request.
type Decision int

// ImplicitDeny is the decision of a policy that does not speak of the request.
const (
	ImplicitDeny Decision = iota
	Allow
	ExplicitDeny
)

// Request is what is held against a policy.
type Request struct {
	Action, Resource string
	Principal        string            // only for policies that have principals
	Context          map[string]string // condition keys; a condition on another one does not hold
}

// ParsePolicy takes a document as templates and authorizers give it, functions resolved.
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
		return Policy{}, fmt.Errorf("the policy's version is %q; only in 2012-10-17 do policies mean what they seem to", file.Version)
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
			err = fmt.Errorf("%s is not understood here", key)
		}
		if err != nil {
			return s, err
		}
	}
	if s.Effect != "Allow" && s.Effect != "Deny" || len(s.Actions) == 0 || len(s.Resources) == 0 {
		return s, fmt.Errorf("it needs an effect, actions and resources")
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

// Decide holds a request against the policy: an explicit denial wins.
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

// Applies says whether the statement speaks of the request. A condition that isn't understood is an error.
func (s Statement) Applies(r Request) (bool, error) {
	if len(s.Principals) > 0 && !anyMatch(s.Principals, r.Principal, Wildcard) ||
		!anyMatch(s.Actions, r.Action, wildcardFold) || !anyMatch(s.Resources, r.Resource, MatchARN) {
		return false, nil
	}
	for operator, keys := range s.Conditions {
		negated := false
		var match func(pattern, text string) bool
		switch operator {
		case "StringEquals":
			match = func(pattern, text string) bool { return pattern == text }
		case "StringLike":
			match = Wildcard
		case "StringNotEquals":
			match, negated = func(pattern, text string) bool { return pattern == text }, true
		case "StringNotLike":
			match, negated = Wildcard, true
		case "ArnEquals", "ArnLike": // the two are the same
			match = MatchARN
		case "Bool":
			match = strings.EqualFold
		default:
			return false, fmt.Errorf("the condition operator %s is not understood here", operator)
		}
		for key, patterns := range keys {
			// A negated operator also holds for a request without the key.
			if value, ok := r.Context[key]; (ok && anyMatch(patterns, value, match)) == negated {
				return false, nil
			}
		}
	}
	return true, nil
}

func anyMatch(patterns []string, text string, match func(pattern, text string) bool) bool {
	for _, pattern := range patterns {
		if match(pattern, text) {
			return true
		}
	}
	return false
}

// Wildcard matches a text with a pattern in which * stands for any text and ? for any character.
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

// Actions are compared without regard to case.
func wildcardFold(pattern, text string) bool {
	return Wildcard(strings.ToLower(pattern), strings.ToLower(text))
}

// MatchARN is Wildcard segment by segment: a * does not reach beyond a colon, but for the last segment, the resource.
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
