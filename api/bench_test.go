package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a http.ResponseWriter that does nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkLookup compares a lookup with a bare handler that verifies the same token, and with the verification alone.
func BenchmarkLookup(b *testing.B) {
	h := newServer(b, nil)
	verifier := h.issuer.newVerifier(b, nil)
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := verifier.Verify(r.Context(), r.Header.Get("Authorization")); err != nil {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"person":"andy","flavor":"cookie dough","updated":"2026-11-23T08:19:00.123Z",` +
			`"upload":"5v2kq3z8m1d7xw0rjt4ybn6c9e"}`))
	})
	for _, key := range []struct{ alg, id string }{{"ES256", "ec"}, {"RS256", "rsa"}, {"EdDSA", "ed"}} {
		token := "Bearer " + h.issuer.Sign(b, key.alg, key.id, nil, h.issuer.Claims(nil))
		request := httptest.NewRequest(http.MethodGet, "/ice-cream/andy", nil)
		request.Header.Set("Authorization", token)
		for name, handler := range map[string]http.Handler{"api": h, "bare": bare} {
			b.Run(key.alg+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					handler.ServeHTTP(discard{http.Header{}}, request)
				}
			})
		}
		b.Run(key.alg+"/verify", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Verify(context.Background(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
