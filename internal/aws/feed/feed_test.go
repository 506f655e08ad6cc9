package feed_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/feed"
)

// TestErrorNamesNoPerson checks the error because the announce function logs it.
func TestErrorNamesNoPerson(t *testing.T) {
	_, _, err := feed.Record{New: feed.Image{"person": "marija", "version": "1"}}.Change()
	if err == nil || strings.Contains(err.Error(), "marija") {
		t.Errorf("Change() = %v, want an error without the person's name", err)
	}
}

// FuzzRecord checks that a change is the difference between the images, and that an invalid item is an
// events.ErrPermanent.
func FuzzRecord(f *testing.F) {
	version := "01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc-00000000002a"
	f.Add("andy", version, "mint", "fig", uint8(3))
	f.Add("andy", version, "", "fig", uint8(1))
	f.Add("andy", version, "mint", "mint", uint8(2))
	f.Add("", version, "", "", uint8(3))
	f.Add("andy", version[1:], "", "x", uint8(0))
	f.Fuzz(func(t *testing.T, person, version, had, has string, images uint8) {
		image := func(flavor string, exists bool) feed.Image {
			if !exists {
				return nil
			}
			i := feed.Image{"person": person, "version": version, "shard": "3"}
			if flavor != "" {
				i["flavor"] = flavor
			}
			return i
		}
		r := feed.Record{Old: image(had, images&1 != 0), New: image(has, images&2 != 0)}
		c, changed, err := r.Change()
		if _, bad := events.ParseVersion(version); bad != nil || person == "" || images&3 == 0 {
			if !errors.Is(err, events.ErrPermanent) || changed {
				t.Errorf("%+v.Change() = %+v, %v, %v, want events.ErrPermanent", r, c, changed, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if changed != (r.Old["flavor"] != r.New["flavor"]) {
			t.Errorf("%+v.Change() reports changed = %v, want %v", r, changed, !changed)
		}
		if want := (events.Change{Person: person, Flavor: r.New["flavor"], Previous: r.Old["flavor"], Kind: c.Kind,
			Version: events.Version(version)}); changed {
			if diff := cmp.Diff(want, c); diff != "" || !strings.Contains("created changed removed", string(c.Kind)) {
				t.Errorf("kind %q, change (-want +got):\n%s", c.Kind, diff)
			}
		}
	})
}
