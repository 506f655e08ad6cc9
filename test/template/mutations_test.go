package template_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Logical ids that osls makes.
const (
	applyMapping    = "ApplyEventSourceMappingSQSApplyQueue"
	announceMapping = "AnnounceEventSourceMappingDynamodbFavoritesTable"
	theAuthorizer   = "AuthorizerApiGatewayAuthorizer"
)

func ref(id string) map[string]any { return map[string]any{"Ref": id} }

func getAtt(id, attribute string) map[string]any {
	return map[string]any{"Fn::GetAtt": []any{id, attribute}}
}

func sub(s string) map[string]any { return map[string]any{"Fn::Sub": s} }

// refs returns references to resources.
func refs(ids ...string) (all []any) {
	for _, id := range ids {
		all = append(all, ref(id))
	}
	return all
}

// set sets the value at a path of a resource's properties, such as PolicyDocument/Statement/0/Condition.
func set(id string, value any, path string) func(*template) {
	return func(t *template) {
		parent, last := parentOf(t, id, path)
		if values, ok := parent.([]any); ok {
			values[index(last)] = value
		} else {
			parent.(map[string]any)[last] = value
		}
	}
}

// without removes a property.
func without(id, path string) func(*template) {
	return func(t *template) {
		parent, last := parentOf(t, id, path)
		delete(parent.(map[string]any), last)
	}
}

// parentOf returns the map or list that contains the last element of a path, and that element.
func parentOf(t *template, id, path string) (parent any, last string) {
	steps := strings.Split(path, "/")
	parent = t.Resources[id].Properties
	for _, step := range steps[:len(steps)-1] {
		if values, ok := parent.([]any); ok {
			parent = values[index(step)]
		} else {
			parent = parent.(map[string]any)[step]
		}
	}
	return parent, steps[len(steps)-1]
}

func index(step string) int {
	i, err := strconv.Atoi(step)
	if err != nil {
		panic(err)
	}
	return i
}

// remove removes a resource.
func remove(id string) func(*template) {
	return func(t *template) { delete(t.Resources, id) }
}

// replace replaces a text everywhere in the properties of a resource.
func replace(id, old, with string) func(*template) {
	return func(t *template) {
		src, err := json.Marshal(t.Resources[id].Properties)
		if err != nil {
			panic(err)
		}
		t.Resources[id].Properties = nil
		src = []byte(strings.ReplaceAll(string(src), old, with))
		if err := json.Unmarshal(src, &t.Resources[id].Properties); err != nil {
			panic(err)
		}
	}
}

// grant adds a statement to a role's policy.
func grant(role string, actions, resource any) func(*template) {
	return func(t *template) {
		document := at(list(t.get(role, "Policies"))[0], "PolicyDocument").(map[string]any)
		document["Statement"] = append(list(document["Statement"]), map[string]any{"Effect": "Allow", "Action": actions,
			"Resource": resource})
	}
}

// revoke removes an action from all statements of a role.
func revoke(role, action string) func(*template) {
	return func(t *template) {
		for _, s := range list(at(list(t.get(role, "Policies"))[0], "PolicyDocument", "Statement")) {
			left := slices.DeleteFunc(texts(at(s, "Action")), func(a string) bool { return a == action })
			s.(map[string]any)["Action"] = left
		}
	}
}

// withoutStatement removes a statement of a resource policy by its Sid.
func withoutStatement(id, sid string) func(*template) {
	return func(t *template) {
		document := t.Resources[id].Properties["PolicyDocument"].(map[string]any)
		document["Statement"] = slices.DeleteFunc(list(document["Statement"]),
			func(s any) bool { return at(s, "Sid") == sid })
	}
}

// allowEverybody returns a statement for a resource policy.
func allowEverybody(action, resource string) map[string]any {
	return map[string]any{"Effect": "Allow", "Principal": "*", "Action": action, "Resource": ref(resource)}
}
