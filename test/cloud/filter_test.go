package cloud

import (
	"encoding/json"
	"testing"
)

func TestFilter(t *testing.T) {
	const event = `{"eventName": "MODIFY", "dynamodb": {"Keys": {"shard": {"S": "f#3"}}, "n": 1, "null": null}}`
	tests := []struct {
		pattern string
		want    bool
	}{
		{`{}`, true},
		{`{"eventName": ["INSERT", "MODIFY"]}`, true},
		{`{"eventName": ["REMOVE"]}`, false},
		{`{"dynamodb": {"Keys": {"shard": {"S": [{"prefix": "f#"}]}}}}`, true},
		{`{"dynamodb": {"Keys": {"shard": {"S": [{"prefix": "u#"}, {"suffix": "3"}]}}}}`, true},
		{`{"dynamodb": {"n": [1]}}`, true},
		{`{"dynamodb": {"n": [2]}}`, false},
		{`{"dynamodb": {"null": [null]}}`, true},
		{`{"dynamodb": {"missing": [null]}}`, false},
		{`{"dynamodb": {"NewImage": {"flavor": [{"exists": false}]}}}`, true},
		{`{"dynamodb": {"n": [{"exists": false}]}}`, false},
		{`{"eventName": [{"anything-but": ["REMOVE"]}]}`, true},
		{`{"eventName": [{"anything-but": "MODIFY"}]}`, false},
		{`{"missing": [{"anything-but": "x"}]}`, false},
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(event), &e); err != nil {
		t.Fatal(err)
	}
	criteria := func(pattern string) any {
		return map[string]any{"Filters": []any{map[string]any{"Pattern": pattern}}}
	}
	for _, tt := range tests {
		f, err := parseFilter(criteria(tt.pattern))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Takes(e); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.pattern, got, tt.want)
		}
	}
	for _, bad := range []string{`{"a": "b"}`, `{"a": [{"numeric": [">", 1]}]}`, `[`} {
		if _, err := parseFilter(criteria(bad)); err == nil {
			t.Errorf("%s is taken, but not understood", bad)
		}
	}
	if f, err := parseFilter(nil); err != nil || !f.Takes(e) {
		t.Error("no criteria take everything")
	}
}
