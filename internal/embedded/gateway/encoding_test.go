package gateway_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// list holds the common elements of lists of objects and of uploads.
type list struct {
	EncodingType, Prefix, Delimiter, Marker, NextMarker, StartAfter, KeyMarker, NextKeyMarker string
	Contents                                                                                  []struct{ Key string }
	Upload                                                                                    []struct{ Key string }
	CommonPrefixes                                                                            []struct{ Prefix string }
}

func (l list) keys() (keys []string) {
	for _, o := range append(l.Contents, l.Upload...) {
		keys = append(keys, o.Key)
	}
	for _, p := range l.CommonPrefixes {
		keys = append(keys, p.Prefix)
	}
	return keys
}

func TestEncodingType(t *testing.T) {
	t.Parallel()
	srv := start(t)
	keys := []string{"uploads/a b+c%20/ü.csv", "uploads/a&b/x.csv", "uploads/line\nend", "uploads/zz'*~.csv"}
	slices.Sort(keys)
	for _, key := range keys {
		srv.put(t, key, "x")
		srv.send(t, request{method: "POST", path: "/uploads/" + escape(key), query: "uploads="}).upload(t)
	}
	ask := func(query string) list {
		t.Helper()
		got := srv.send(t, request{method: "GET", path: "/uploads", query: query})
		var l list
		if err := xml.Unmarshal([]byte(got.body), &l); err != nil || got.status != 200 {
			t.Fatalf("%s: %s, %v; want 200", query, got, err)
		}
		return l
	}
	for _, kind := range []string{"", "list-type=2&", "uploads=&"} {
		plain, encoded := ask(kind+"prefix=uploads%2F"), ask(kind+"prefix=uploads%2F&encoding-type=url")
		if plain.EncodingType != "" || encoded.EncodingType != "url" {
			t.Errorf("%s: encoding types %q and %q, want none and url", kind, plain.EncodingType, encoded.EncodingType)
		}
		if diff := cmp.Diff(keys, plain.keys()); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", kind, diff)
		}
		var decoded []string
		for _, key := range encoded.keys() {
			text, err := url.QueryUnescape(key)
			if err != nil || strings.ContainsAny(key, " \n&'") || !strings.HasPrefix(key, "uploads/") {
				t.Errorf("%s: key %q is not encoded: %v", kind, key, err)
			}
			decoded = append(decoded, text)
		}
		if diff := cmp.Diff(keys, decoded); diff != "" {
			t.Errorf("%s: decoded keys (-want +got):\n%s", kind, diff)
		}
		start := headers{"": "marker", "list-type=2&": "start-after", "uploads=&": "key-marker"}[kind]
		folders := ask(kind + "prefix=uploads%2Fa%20&delimiter=%2F&encoding-type=url&" + start + "=%20")
		if diff := cmp.Diff([]string{"uploads/a+b%2Bc%2520/"}, folders.keys()); diff != "" ||
			folders.Prefix != "uploads/a+" || folders.Delimiter != "/" {
			t.Errorf("%s: prefix %q, delimiter %q, common prefixes (-want +got):\n%s", kind, folders.Prefix,
				folders.Delimiter, diff)
		}
		if marker := folders.Marker + folders.StartAfter + folders.KeyMarker; marker != "+" {
			t.Errorf("%s: marker = %q, want +", kind, marker)
		}
		if none := ask(kind + "prefix=uploads%2F%2F%20&encoding-type=url"); none.Prefix != "uploads//+" ||
			none.EncodingType != "url" {
			t.Errorf("%s: empty list = %+v, want the encoded prefix", kind, none)
		}
		if got := srv.send(t, request{method: "GET", path: "/uploads",
			query: kind + "encoding-type=base64"}); got.status != http.StatusBadRequest {
			t.Errorf("%s: an unknown encoding type: %s, want 400", kind, got)
		}
	}
	// Page by page, like SDKs.
	marker, seen := "", []string(nil)
	for range len(keys) + 1 {
		page := ask("max-keys=1&encoding-type=url&prefix=uploads%2F&marker=" + url.QueryEscape(marker))
		for _, key := range page.keys() {
			marker, _ = url.QueryUnescape(key)
			seen = append(seen, marker)
		}
	}
	if diff := cmp.Diff(keys, seen); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
}
