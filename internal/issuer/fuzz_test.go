package issuer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/issuer"
)

// FuzzFile checks that Open refuses a file or returns an issuer that can sign and does not publish its private key.
func FuzzFile(f *testing.F) {
	seeds := f.TempDir()
	if _, err := issuer.Open(issuer.Config{Dir: seeds}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(seeds, issuer.File))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"issuer":"urn:flavorless:development:x","key":{"kty":"oct","k":"AA","kid":"a"}}`))
	f.Add([]byte(`{"issuer":"urn:flavorless:development:x",
		"key":{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA","kid":"a"}}`))
	f.Add([]byte(`{"issuer":"https://id.example.com/","key":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, issuer.File), content, 0o600); err != nil {
			t.Fatal(err)
		}
		is, err := issuer.Open(issuer.Config{Dir: dir})
		if err != nil {
			return
		}
		if _, err := is.Sign(issuer.Grant{Subject: "s", Audience: "a", TTL: time.Hour}); err != nil {
			t.Errorf("Sign() = %v, want a token", err)
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(is.JWKS(), &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["d"] != nil {
			t.Errorf("key set = %s (%v), want one public key", is.JWKS(), err)
		}
	})
}
