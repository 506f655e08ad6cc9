package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

// TestUploadedNamesCanBeRead checks that any names that ingest accepts can be looked up and are in the pages of the
// team.
func TestUploadedNamesCanBeRead(t *testing.T) {
	h := newServer(t, nil)
	name := rapid.Custom(func(r *rapid.T) string {
		raw := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ ./%+?#&;=a\\"é]{1,8}`)).Draw(r, "raw")
		clean, bad := events.CleanName(raw, "person", events.MissingPerson)
		if bad != nil {
			return "andy"
		}
		return clean
	})
	rapid.Check(t, func(r *rapid.T) {
		want := map[string]string{}
		clear(h.store.favorites)
		for range rapid.IntRange(1, 12).Draw(r, "people") {
			person, flavor := name.Draw(r, "person"), name.Draw(r, "flavor")
			want[person] = flavor
			h.store.set(t, person, flavor)
		}
		for person, flavor := range want {
			a := h.get(t, "/ice-cream/"+url.PathEscape(person)).wantStatus(t, http.StatusOK)
			var got struct{ Person, Flavor string }
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Person != person || got.Flavor != flavor {
				r.Fatalf("got %s (error %v), want %q and %q", a.body, err, person, flavor)
			}
		}
		got := map[string]string{}
		for target := "/team?limit=" + rapid.StringMatching(`[1-9]`).Draw(r, "limit"); target != ""; {
			a := h.get(t, target).wantStatus(t, http.StatusOK)
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				r.Fatal(err)
			}
			target = next(t, a, "")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Fatalf("team (-want +got):\n%s", diff)
		}
	})
}

// FuzzVerify checks that each header is refused with a well-formed description, or contains a valid token in its
// canonical encoding.
func FuzzVerify(f *testing.F) {
	i := newIssuer(f, newClock())
	verifier := i.newVerifier(f, nil)
	f.Add(i.bearer(f))
	f.Add("Bearer " + i.Sign(f, "RS256", "rsa", map[string]any{"crit": []string{"x"}, "x": 1}, i.Claims(nil)))
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add("basic x")
	for _, r := range i.strictRefusals(f) {
		f.Add(r.header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		claims, err := verifier.Verify(context.Background(), header)
		if err == nil {
			if claims.Subject != "liz" {
				t.Errorf("Verify(%q) = %+v, want subject liz or an error", header, claims)
			}
			scheme, token, _ := strings.Cut(header, " ")
			var encoded []string
			for part := range strings.SplitSeq(token, ".") {
				raw, err := base64.RawURLEncoding.DecodeString(strings.TrimLeft(part, " "))
				if err != nil {
					t.Errorf("Verify accepted %q, but decoding a part fails: %v", header, err)
				}
				encoded = append(encoded, base64.RawURLEncoding.EncodeToString(raw))
			}
			got := strings.Join(encoded, ".")
			if len(encoded) != 3 || !strings.EqualFold(scheme, "Bearer") || got != strings.TrimLeft(token, " ") {
				t.Errorf("Verify accepted %q, want only the canonical encoding %q", header, got)
			}
			return
		}
		auth := new(api.AuthError)
		if !errors.As(err, &auth) {
			t.Fatalf("Verify(%q) = %v, want an AuthError", header, err)
		}
		for _, c := range []byte(auth.Description) { // RFC 6750 section 3
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				t.Errorf("description %q has a character that RFC 6750 forbids", auth.Description)
			}
		}
	})
}
