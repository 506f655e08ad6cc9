package events_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TestGoldenSorted checks the members that only the events of sorted uploads have.
func TestGoldenSorted(t *testing.T) {
	schemas := readDocument(t).messageSchemas(t)
	want := events.Batch{Origin: mustOrigin(t, goldenObject()), First: 93, Rows: []events.Update{
		{Offset: 93, Person: "andy", Flavor: "cookie dough"}, {Offset: 14, Person: "bill", Remove: true},
	}}
	messages := map[string]events.Message{}
	for name, compare := range map[string]bool{"batch-sorted": false, "batch-compare": true} {
		w := events.NewSortedBatchWriter(want.Origin, compare)
		for _, row := range want.Rows {
			w.Add(row)
		}
		messages[name] = w.Message()
		want.Compare = compare
		got, err := events.DecodeBatch(messages[name].Body)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, decoded (-want +got):\n%s", name, err, diff)
		}
	}
	rest := goldenContinuation()
	rest.Offset, rest.Rows, rest.Rejected, rest.RejectsBytes, rest.Count = 131_072, 0, 0, 0, 2
	rest.Positions = []int64{65_536, 1_065_536}
	m, err := rest.Message()
	if err != nil {
		t.Fatal(err)
	}
	messages["continuation-sorted"] = m
	got, err := events.DecodeContinuation(messages["continuation-sorted"].Body)
	if err != nil || !reflect.DeepEqual(got, rest) {
		t.Errorf("decoded continuation = %+v, %v; want %+v", got, err, rest)
	}
	for name, m := range messages {
		golden(t, name+".json", append(bytes.Clone(m.Body), '\n'))
		if err := schemas.check(m); err != nil {
			t.Errorf("%s does not match its schema: %v", name, err)
		}
	}
	unsorted := bytes.Replace(messages["batch-compare"].Body, []byte(`"sorted":true,`), nil, 1)
	if _, err := events.DecodeBatch(unsorted); err == nil || valid(schemas[events.UpdatesType].body, unsorted) == nil {
		t.Errorf("a comparing batch that is not sorted is valid (%v), want it refused", err)
	}
}
