package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The pseudo parameters of every stack. The account is moto's.
const (
	Region    = "eu-west-1"
	Account   = "123456789012"
	Partition = "aws"
)

// Template is a compiled CloudFormation template.
type Template struct {
	Resources map[string]Resource
}

// Resource is a resource of a template. Its properties contain intrinsic functions; see [Template.Resolve].
type Resource struct {
	ID         string
	Type       string
	DependsOn  []string
	Properties map[string]any
}

// Lookup returns an attribute of an existing resource, as Fn::GetAtt does, or if attr is empty its physical id, as Ref
// does.
type Lookup func(id, attr string) (any, error)

// noValue is the value of AWS::NoValue: a property or list item that has it is removed.
type noValue struct{}

// ParseTemplate parses a template. It returns an error for conditions, macros and parameters, which are not supported.
func ParseTemplate(body []byte) (*Template, error) {
	var file struct {
		AWSTemplateFormatVersion, Description string
		Outputs                               map[string]any // not used
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

// Of returns the ids of all resources of a type, sorted.
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

// Order returns all resources, each after its dependencies. A circular dependency is an error, as in CloudFormation.
func (t *Template) Order() ([]string, error) {
	var order, path []string
	done := map[string]bool{}
	var visit func(id string) error
	visit = func(id string) error {
		if done[id] {
			return nil
		}
		if i := slices.Index(path, id); i >= 0 {
			return fmt.Errorf("circular dependency: %s", strings.Join(append(path[i:], id), " → "))
		}
		path = append(path, id)
		dependencies, err := t.dependencies(id)
		if err != nil {
			return err
		}
		for _, other := range dependencies {
			if err := visit(other); err != nil {
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

// dependencies returns the resources that a resource names in DependsOn or refers to, sorted.
func (t *Template) dependencies(id string) ([]string, error) {
	r := t.Resources[id]
	found := map[string]bool{}
	for _, d := range r.DependsOn {
		found[d] = true
	}
	_, err := t.Resolve(r.Properties, func(ref, _ string) (any, error) {
		found[ref] = true
		return "", nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	for other := range found {
		if _, ok := t.Resources[other]; !ok {
			return nil, fmt.Errorf("%s refers to %s, which does not exist", id, other)
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Resolve returns a value with all intrinsic functions in it evaluated.
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
	if name == "Fn::Sub" { // its placeholders are references of their own
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
	}
	return nil, fmt.Errorf("%s of %v is not supported", name, arg)
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
	case "AWS::NoValue":
		return noValue{}, nil
	}
	if strings.HasPrefix(id, "AWS::") {
		return nil, fmt.Errorf("the pseudo parameter %s is not supported", id)
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
		return nil, fmt.Errorf("Fn::Sub of %v is not supported", arg)
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

// stringList returns v as a list of strings. A string is a list of one, as in CloudFormation and in policies.
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
				return nil, fmt.Errorf("%v is not a string", member)
			}
			out[i] = s
		}
		return out, nil
	}
	return nil, fmt.Errorf("%v is neither a string nor a list of strings", v)
}

// convert converts decoded JSON to a type. A member that the type does not have is an error, so that no property is
// ignored by mistake.
func convert(from, to any) error {
	body, err := json.Marshal(from)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}
