package test

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestChangesForSubscribers checks that the changes that a plain NATS client receives add up to the table, and that a
// file that changes nothing causes none.
func TestChangesForSubscribers(t *testing.T) {
	s := startServer(t)
	info := s.Info()
	nc, err := nats.Connect(info.NATS, nats.UserInfo(info.NATSUser, info.NATSPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("flavorless.change.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	next := func() (subject, change string) {
		t.Helper()
		m, err := sub.NextMsg(testutil.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.DecodeChange(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		kind, person := m.Header.Get("kind"), m.Header.Get("person")
		if kind != string(c.Kind) || person != c.Person {
			t.Errorf("headers kind %q and person %q, want %q and %q", kind, person, c.Kind, c.Person)
		}
		return m.Subject, fmt.Sprintf("%s %s: %s -> %s", c.Kind, c.Person, c.Previous, c.Flavor)
	}
	for _, step := range []struct {
		name, text      string
		subject, change string // of the one change that the file causes; empty for none
	}{
		{"a.csv", "person,flavor\nandy,vanilla\n", "flavorless.change.v1.created", "created andy:  -> vanilla"},
		{"same.csv", "person,flavor\nandy,vanilla\n", "", ""},
		{"b.csv", "person,flavor\nandy,mint\n", "flavorless.change.v1.changed", "changed andy: vanilla -> mint"},
		{"c.json", `{"andy": null, "never seen": null}`, "flavorless.change.v1.removed", "removed andy: mint -> "},
		{"last.csv", "person,flavor\nbill,fudge\n", "flavorless.change.v1.created", "created bill:  -> fudge"},
	} {
		s.put("uploads/"+step.name, []byte(step.text), nil)
		s.settled("uploads/" + step.name)
		if step.change == "" {
			continue
		}
		subject, change := next()
		if diff := gocmp.Diff([2]string{step.subject, step.change}, [2]string{subject, change}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if n, _, err := sub.Pending(); n > 0 || err != nil {
		t.Errorf("Pending = %d, %v; want no more changes", n, err)
	}
}
