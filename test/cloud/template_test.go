package cloud_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/test/cloud"
)

func TestResolve(t *testing.T) {
	lookup := func(id, attr string) (any, error) {
		if id == "Missing" {
			return nil, fmt.Errorf("no %s", id)
		}
		return "<" + id + "|" + attr + ">", nil
	}
	m := func(k string, v any) map[string]any { return map[string]any{k: v} }
	l := func(v ...any) []any { return v }
	tests := []struct {
		name     string
		in, want any
		err      string
	}{
		{name: "plain", in: l("a", 1.0, true, nil), want: l("a", 1.0, true, nil)},
		{name: "ref", in: m("Ref", "Table"), want: "<Table|>"},
		{name: "pseudo", in: m("Ref", "AWS::Region"), want: "eu-west-1"},
		{name: "no value in a map", in: map[string]any{"a": m("Ref", "AWS::NoValue"), "b": "c"}, want: m("b", "c")},
		{name: "no value in a list", in: l(m("Ref", "AWS::NoValue"), "c"), want: l("c")},
		{name: "getatt list", in: m("Fn::GetAtt", l("Table", "Arn")), want: "<Table|Arn>"},
		{name: "join", in: m("Fn::Join", l("/", l("a", m("Ref", "B"), "c"))), want: "a/<B|>/c"},
		{name: "sub", in: m("Fn::Sub", "arn:${AWS::Partition}:${Topic}:${Table.Arn}:${!Kept}"),
			want: "arn:aws:<Topic|>:<Table|Arn>:${Kept}"},
		{name: "sub with names", in: m("Fn::Sub", l("${A}-${B}", m("A", m("Ref", "X")))), want: "<X|>-<B|>"},
		{name: "deep", in: m("a", l(m("b", m("Ref", "C")))), want: m("a", l(m("b", "<C|>")))},
		{name: "unknown function", in: m("Fn::ImportValue", "x"), err: "Fn::ImportValue"},
		{name: "unknown pseudo parameter", in: m("Ref", "AWS::Moon"), err: "AWS::Moon"},
		{name: "error of the lookup", in: m("Fn::Sub", "${Missing}"), err: "no Missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := new(cloud.Template).Resolve(tt.in, lookup)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	parse := func(text string) *cloud.Template {
		t.Helper()
		tmpl, err := cloud.ParseTemplate([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	}
	order, err := parse(`{"Resources": {
		"A": {"Type": "T", "DependsOn": "B"},
		"B": {"Type": "T", "Properties": {"X": {"Fn::Sub": "${C.Arn}"}}},
		"C": {"Type": "T", "DependsOn": ["D"]},
		"D": {"Type": "T"}}}`).Order()
	if err != nil || !slices.Equal(order, []string{"D", "C", "B", "A"}) {
		t.Errorf("Order() = %v, %v, want D, C, B, A", order, err)
	}
	_, err = parse(`{"Resources": {
		"A": {"Type": "T", "DependsOn": "B"},
		"B": {"Type": "T", "Properties": {"X": {"Ref": "A"}}}}}`).Order()
	if err == nil || !strings.Contains(err.Error(), "A → B → A") {
		t.Errorf("circular dependency: error %v, want one that names it", err)
	}
	_, err = parse(`{"Resources": {"A": {"Type": "T", "DependsOn": "Nobody"}}}`).Order()
	if err == nil || !strings.Contains(err.Error(), "Nobody") {
		t.Errorf("dangling reference: error %v, want one that names it", err)
	}
	if _, err := cloud.ParseTemplate([]byte(`{"Conditions": {}, "Resources": {}}`)); err == nil {
		t.Error("ParseTemplate accepted conditions, want an error")
	}
}
