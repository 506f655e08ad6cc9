package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The pseudo parameters of every stack here. The account is moto's.
const (
	Region    = "eu-west-1"
	Account   = "123456789012"
	Partition = "aws"
)

// Template is a compiled CloudFormation template.
type Template struct {
	Resources map[string]Resource
}

// Resource is one of its resources. Properties still hold references and functions; Template.Resolve settles them.
type Resource struct {
	ID         string
	Type       string
	DependsOn  []string
	Properties map[string]any
}

// Lookup gives an attribute of a resource that exists already: what Fn::GetAtt gives, or, if attr is "", Ref.
type Lookup func(id, attr string) (any, error)

// noValue is what AWS::NoValue resolves to: whatever has it is removed.
type noValue struct{}

// ParseTemplate reads a template. It refuses what it could only guess about: conditions, macros and parameters.
func ParseTemplate(body []byte) (*Template, error) {
	var file struct {
		AWSTemplateFormatVersion, Description string
		Outputs                               map[string]any // for people and other stacks; nothing here reads them
		Resources                             map[string]struct {
			Type                                string
			DependsOn                           any
			Properties                          map[string]any
			Metadata                            any // documentation
			DeletionPolicy, UpdateReplacePolicy string
		}
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("parsing the template: %w", err)
	}
	t := &Template{Resources: map[string]Resource{}}
	for id, r := range file.Resources {
		depends, err := stringList(r.DependsOn)
		if err != nil {
			return nil, fmt.Errorf("DependsOn of %s: %w", id, err)
		}
		t.Resources[id] = Resource{ID: id, Type: r.Type, DependsOn: depends, Properties: r.Properties}
	}
	return t, nil
}

// Of gives the ids of all resources of a type, sorted.
func (t *Template) Of(kind string) []string {
	var ids []string
	for id, r := range t.Resources {
		if r.Type == kind {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Order gives all resources so that each comes after those it needs, by DependsOn or by a reference. A circle, which
// CloudFormation refuses too, is an error.
func (t *Template) Order() ([]string, error) {
	var order, path []string
	done := map[string]bool{}
	var visit func(id string) error
	visit = func(id string) error {
		if done[id] {
			return nil
		}
		if i := slices.Index(path, id); i >= 0 {
			return fmt.Errorf("a circle: %s", strings.Join(append(path[i:], id), " → "))
		}
		path = append(path, id)
		needs, err := t.Needs(id)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		done[id] = true
		order = append(order, id)
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if err := visit(id); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// Needs gives the resources that one needs directly, sorted.
func (t *Template) Needs(id string) ([]string, error) {
	r, ok := t.Resources[id]
	if !ok {
		return nil, fmt.Errorf("there is no resource %s", id)
	}
	needs := map[string]bool{}
	for _, d := range r.DependsOn {
		needs[d] = true
	}
	// Resolving with a lookup that only takes notes finds what is referred to, by the very rules that will be used.
	_, err := t.Resolve(r.Properties, func(ref, _ string) (any, error) {
		needs[ref] = true
		return "?", nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	for need := range needs {
		if _, ok := t.Resources[need]; !ok {
			return nil, fmt.Errorf("%s refers to %s, which does not exist", id, need)
		}
	}
	return slices.Sorted(maps.Keys(needs)), nil
}

// Resolve settles the intrinsic functions in a value, to any depth.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
func (t *Template) Resolve(v any, lookup Lookup) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if name, arg, ok := function(v); ok {
			return t.call(name, arg, lookup)
		}
		out := make(map[string]any, len(v))
		for key, member := range v {
			value, err := t.Resolve(member, lookup)
			if err != nil {
				return nil, err
			}
			if value != any(noValue{}) {
				out[key] = value
			}
		}
		return out, nil
	case []any:
		out := make([]any, 0, len(v))
		for _, member := range v {
			value, err := t.Resolve(member, lookup)
			if err != nil {
				return nil, err
			}
			if value != any(noValue{}) {
				out = append(out, value)
			}
		}
		return out, nil
	default:
		return v, nil
	}
}

func function(v map[string]any) (name string, arg any, ok bool) {
	if len(v) != 1 {
		return "", nil, false
	}
	for name, arg = range v {
	}
	return name, arg, name == "Ref" || strings.HasPrefix(name, "Fn::")
}

func (t *Template) call(name string, arg any, lookup Lookup) (any, error) {
	if name == "Fn::Sub" { // its text is no value to resolve, but one with references of its own
		return t.sub(arg, lookup)
	}
	arg, err := t.Resolve(arg, lookup)
	if err != nil {
		return nil, err
	}
	list, _ := arg.([]any)
	switch name {
	case "Ref":
		if s, ok := arg.(string); ok {
			return ref(s, lookup)
		}
	case "Fn::GetAtt":
		if s, ok := arg.(string); ok {
			id, attr, _ := strings.Cut(s, ".")
			return lookup(id, attr)
		}
		if names, err := stringList(arg); err == nil && len(names) == 2 {
			return lookup(names[0], names[1])
		}
	case "Fn::Join":
		if len(list) == 2 {
			parts, err := stringList(list[1])
			if sep, ok := list[0].(string); ok && err == nil {
				return strings.Join(parts, sep), nil
			}
		}
	case "Fn::Split":
		if len(list) == 2 {
			sep, ok1 := list[0].(string)
			text, ok2 := list[1].(string)
			if ok1 && ok2 {
				var out []any
				for part := range strings.SplitSeq(text, sep) {
					out = append(out, part)
				}
				return out, nil
			}
		}
	case "Fn::Select":
		if len(list) == 2 {
			var i int
			if n, err := fmt.Sscan(fmt.Sprint(list[0]), &i); n == 1 && err == nil {
				// While needs are looked for, a list that is split from an unknown text is short.
				if from, ok := list[1].([]any); ok && i < len(from) {
					return from[i], nil
				} else if ok && len(from) > 0 && from[0] == "?" {
					return "?", nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%s of %v is not understood here", name, arg)
}

func ref(id string, lookup Lookup) (any, error) {
	switch id {
	case "AWS::Region":
		return Region, nil
	case "AWS::AccountId":
		return Account, nil
	case "AWS::Partition":
		return Partition, nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::StackName":
		return "stack", nil
	case "AWS::StackId":
		return "arn:aws:cloudformation:" + Region + ":" + Account + ":stack/stack/1", nil
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if strings.HasPrefix(id, "AWS::") {
		return nil, fmt.Errorf("the pseudo parameter %s is not known here", id)
	}
	return lookup(id, "")
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

func (t *Template) sub(arg any, lookup Lookup) (any, error) {
	text, ok := arg.(string)
	own := map[string]any{}
	if list, is := arg.([]any); is && len(list) == 2 {
		text, ok = list[0].(string)
		resolved, err := t.Resolve(list[1], lookup)
		if err != nil {
			return nil, err
		}
		own, _ = resolved.(map[string]any)
	}
	if !ok || own == nil {
		return nil, fmt.Errorf("Fn::Sub of %v is not understood here", arg)
	}
	var failed error
	text = placeholder.ReplaceAllStringFunc(text, func(match string) string {
		name := strings.TrimSpace(match[2 : len(match)-1])
		if literal, is := strings.CutPrefix(name, "!"); is {
			return "${" + literal + "}"
		}
		value, is := own[name]
		var err error
		if !is {
			if id, attr, has := strings.Cut(name, "."); has {
				value, err = lookup(id, attr)
			} else {
				value, err = ref(name, lookup)
			}
		}
		if err != nil && failed == nil {
			failed = err
		}
		return fmt.Sprint(value)
	})
	return text, failed
}

// stringList takes a text for a list of one, as CloudFormation and policies do.
func stringList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		out := make([]string, len(v))
		for i, member := range v {
			s, ok := member.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a text", member)
			}
			out[i] = s
		}
		return out, nil
	}
	return nil, fmt.Errorf("%v is neither a text nor a list of texts", v)
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
