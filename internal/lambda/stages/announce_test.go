package stages_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

// announcer fails for some people, and tells of the others.
type announcer struct {
	told []string
	fate map[string]error // by person; of everybody by ""
}

func (a *announcer) Announce(_ context.Context, changes []events.Change) []error {
	errs := make([]error, len(changes))
	for i, c := range changes {
		if errs[i] = cmp.Or(a.fate[c.Person], a.fate[""]); errs[i] == nil {
			a.told = append(a.told, strings.Join([]string{c.Person, string(c.Kind), c.Previous, c.Flavor}, " "))
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
	never, later := errors.Join(events.ErrPermanent, errors.New("never")), errors.New("not now")
	corrupt := func(n int) func(*lambdaevents.DynamoDBEvent) {
		return func(e *lambdaevents.DynamoDBEvent) {
			e.Records[n].Change.NewImage["version"] = lambdaevents.NewStringAttribute("old")
		}
	}
	const all = "andy1 created  mint; andy2 changed mint cookie dough; andy4 removed mint "
	for _, test := range []struct {
		name   string
		fate   map[string]error
		change func(*lambdaevents.DynamoDBEvent)
		answer string // sequence numbers that failed
		told   string
		dead   []string // ids
	}{
		{name: "only what changed a flavor", told: all},
		{name: "an outage", fate: map[string]error{"andy2": later}, answer: "2", told: "andy1 created  mint; andy4 removed mint "},
		{name: "one that can't be published", fate: map[string]error{"andy2": never}, told: "andy1 created  mint; andy4 removed mint ", dead: []string{"event-2"}},
		{name: "one that can't be read", change: corrupt(1), told: "andy1 created  mint; andy4 removed mint ", dead: []string{"event-2"}},
		{name: "one that can't be read, and an outage behind it", fate: map[string]error{"andy4": later}, change: corrupt(1), answer: "4",
			told: "andy1 created  mint", dead: []string{"event-2"}},
		{name: "one that can't be read, and an outage before it", fate: map[string]error{"andy1": later}, change: corrupt(1), answer: "1",
			told: "andy4 removed mint "},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := stream(t)
			if test.change != nil {
				test.change(&event)
			}
			dead, subscribers := &grave{}, &announcer{fate: test.fate}
			response, err := stages.Announce{Common: common(t, dead), Announcer: subscribers}.Handle(t.Context(), event)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"batchItemFailures":[]}`
			if test.answer != "" {
				want = `{"batchItemFailures":[{"itemIdentifier":"` + test.answer + `00000000000000000000"}]}`
			}
			if diff := gocmp.Diff(want, golden(t, response)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(test.told, strings.Join(subscribers.told, "; ")); diff != "" {
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

// TestDeadChangeIsTheMessage: published again as it lies there, it is what subscribers missed.
func TestDeadChangeIsTheMessage(t *testing.T) {
	dead := &grave{}
	a := stages.Announce{Common: common(t, dead), Announcer: &announcer{fate: map[string]error{"andy2": events.ErrPermanent}}}
	if _, err := a.Handle(t.Context(), stream(t)); err != nil || len(dead.letters) != 1 {
		t.Fatalf("got %d dead letters, error %v", len(dead.letters), err)
	}
	change, err := events.DecodeChange(dead.letters[0].Body)
	if err != nil || change.Person != "andy2" {
		t.Fatalf("got %+v, error %v", change, err)
	}
	if diff := gocmp.Diff(change.Message().Attributes, dead.letters[0].Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestAnnounceNeverAnswersWithAnEmptyID(t *testing.T) {
	event := stream(t)
	event.Records[0].Change.SequenceNumber = ""
	a := stages.Announce{Common: common(t, &grave{}), Announcer: &announcer{fate: map[string]error{"andy1": errors.New("not now")}}}
	if response, err := a.Handle(t.Context(), event); err == nil || len(response.BatchItemFailures) != 0 {
		t.Errorf("got %+v, error %v", response, err)
	}
}
