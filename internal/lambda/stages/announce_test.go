package stages_test

import (
	"cmp"
	"context"
	"strings"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

// announcer records the changes that it announces. It fails for the people in errs, or with errs[""] for everybody.
type announcer struct {
	announced []string
	errs      map[string]error
}

func (a *announcer) Announce(_ context.Context, changes []events.Change) []error {
	errs := make([]error, len(changes))
	for i, c := range changes {
		if errs[i] = cmp.Or(a.errs[c.Person], a.errs[""]); errs[i] == nil {
			a.announced = append(a.announced, strings.Join([]string{c.Person, string(c.Kind), c.Previous, c.Flavor}, " "))
		}
	}
	return errs
}

func stream(t *testing.T) lambdaevents.DynamoDBEvent {
	var event lambdaevents.DynamoDBEvent
	read(t, "stream.json", &event)
	return event
}

func TestAnnounce(t *testing.T) {
	never, later := errPermanent, errTemporary
	corrupt := func(n int) func(*lambdaevents.DynamoDBEvent) {
		return func(e *lambdaevents.DynamoDBEvent) {
			e.Records[n].Change.NewImage["version"] = lambdaevents.NewStringAttribute("old")
		}
	}
	const all = "andy1 created  mint; andy2 changed mint cookie dough; andy4 removed mint "
	for _, test := range []struct {
		name   string
		errs   map[string]error
		change func(*lambdaevents.DynamoDBEvent)
		failed string // first digit of the sequence number that is reported
		want   string
		dead   []string // ids
	}{
		{name: "only changed flavors", want: all},
		{name: "temporary error", errs: map[string]error{"andy2": later}, failed: "2",
			want: "andy1 created  mint; andy4 removed mint "},
		{name: "permanent error", errs: map[string]error{"andy2": never}, want: "andy1 created  mint; andy4 removed mint ",
			dead: []string{"event-2"}},
		{name: "corrupt record", change: corrupt(1), want: "andy1 created  mint; andy4 removed mint ",
			dead: []string{"event-2"}},
		{name: "corrupt record before a temporary error", errs: map[string]error{"andy4": later}, change: corrupt(1),
			failed: "4", want: "andy1 created  mint", dead: []string{"event-2"}},
		{name: "corrupt record after a temporary error", errs: map[string]error{"andy1": later}, change: corrupt(1),
			failed: "1", want: "andy4 removed mint "},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := stream(t)
			if test.change != nil {
				test.change(&event)
			}
			dead, announcer := &deadQueue{}, &announcer{errs: test.errs}
			response, err := stages.Announce{Common: common(t, dead), Announcer: announcer}.Handle(t.Context(), event)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"batchItemFailures":[]}`
			if test.failed != "" {
				want = `{"batchItemFailures":[{"itemIdentifier":"` + test.failed + `00000000000000000000"}]}`
			}
			if diff := gocmp.Diff(want, encode(t, response)); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(test.want, strings.Join(announcer.announced, "; ")); diff != "" {
				t.Errorf("announced (-want +got):\n%s", diff)
			}
			var ids []string
			for _, l := range dead.letters {
				ids = append(ids, l.ID)
			}
			if diff := gocmp.Diff(test.dead, ids); diff != "" {
				t.Errorf("dead letters (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDeadLetterIsChangeMessage checks that redriving the dead letter of a change publishes the message that
// subscribers missed.
func TestDeadLetterIsChangeMessage(t *testing.T) {
	dead := &deadQueue{}
	announcer := &announcer{errs: map[string]error{"andy2": errPermanent}}
	a := stages.Announce{Common: common(t, dead), Announcer: announcer}
	if _, err := a.Handle(t.Context(), stream(t)); err != nil || len(dead.letters) != 1 {
		t.Fatalf("got %d dead letters, error %v, want 1", len(dead.letters), err)
	}
	change, err := events.DecodeChange(dead.letters[0].Body)
	if err != nil || change.Person != "andy2" {
		t.Fatalf("DecodeChange() = %+v, %v, want a change of andy2", change, err)
	}
	if diff := gocmp.Diff(change.Message().Attributes, dead.letters[0].Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestAnnounceRecordWithoutSequenceNumber(t *testing.T) {
	event := stream(t)
	event.Records[0].Change.SequenceNumber = ""
	announcer := &announcer{errs: map[string]error{"andy1": errTemporary}}
	a := stages.Announce{Common: common(t, &deadQueue{}), Announcer: announcer}
	if response, err := a.Handle(t.Context(), event); err == nil || len(response.BatchItemFailures) != 0 {
		t.Errorf("Handle() = %+v, %v, want no failed items and an error", response, err)
	}
}
