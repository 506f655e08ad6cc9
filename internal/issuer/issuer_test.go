package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/issuer"
)

func open(t *testing.T, dir string) *issuer.Issuer {
	t.Helper()
	i, err := issuer.Open(issuer.Config{Dir: dir, Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestOpen(t *testing.T) {
	t.Run("creates a folder and a file that only the owner can read", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		open(t, dir)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 1 || files[0].Name() != issuer.File {
			t.Errorf("files = %v, want only %s", files, issuer.File)
		}
		info, err := os.Stat(filepath.Join(dir, issuer.File))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode = %04o, want 0600", mode)
		}
	})
	t.Run("a second Open loads the same issuer", func(t *testing.T) {
		dir := t.TempDir()
		first, second := open(t, dir), open(t, dir)
		if first.Name() != second.Name() || !strings.HasPrefix(first.Name(), "urn:flavorless:development:") {
			t.Errorf("names = %s and %s, want the same with the prefix of development issuers", first.Name(), second.Name())
		}
		if diff := cmp.Diff(string(first.JWKS()), string(second.JWKS())); diff != "" {
			t.Errorf("keys (-first +second):\n%s", diff)
		}
		if other := open(t, t.TempDir()); other.Name() == first.Name() {
			t.Errorf("issuer of another folder has the same name %s", other.Name())
		}
	})
	t.Run("concurrent calls create one issuer", func(t *testing.T) {
		dir := t.TempDir()
		names := make([]string, 8)
		var all sync.WaitGroup
		for n := range names {
			all.Go(func() { names[n] = open(t, dir).Name() })
		}
		all.Wait()
		for _, name := range names {
			if name != names[0] {
				t.Errorf("names = %v, want one name", names)
			}
		}
	})
	for name, change := range map[string]func(t *testing.T, path string, body []byte){
		"refuses a file that others may read": func(t *testing.T, path string, _ []byte) {
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
		},
		"refuses a truncated file": func(t *testing.T, path string, body []byte) { write(t, path, body[:len(body)/2]) },
		"refuses a public key": func(t *testing.T, path string, body []byte) {
			write(t, path, []byte(strings.Replace(string(body), `"d"`, `"dd"`, 1)))
		},
		"refuses the name of another issuer": func(t *testing.T, path string, body []byte) {
			write(t, path, []byte(strings.Replace(string(body), "urn:", "https:", 1)))
		},
		"refuses an empty file": func(t *testing.T, path string, _ []byte) { write(t, path, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			path := filepath.Join(dir, issuer.File)
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			change(t, path, body)
			if _, err := issuer.Open(issuer.Config{Dir: dir}); err == nil {
				t.Error("Open() succeeded, want an error")
			}
		})
	}
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSign(t *testing.T) {
	i := open(t, t.TempDir())
	token, err := i.Sign(issuer.Grant{Subject: "liz", Audience: "flavorless", Scope: "read write", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(i.JWKS(), &keys); err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(keys.Key(signed.Signatures[0].Header.KeyID)[0])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if id, _ := got["jti"].(string); len(id) < 20 {
		t.Errorf("jti = %q, want a random one", id)
	}
	delete(got, "jti")
	want := map[string]any{
		"iss": i.Name(), "sub": "liz", "aud": "flavorless", "scope": "read write", "iat": 1.8e9, "exp": 1.8e9 + 3600,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}

	for name, grant := range map[string]issuer.Grant{
		"no subject":  {Audience: "a", TTL: time.Hour},
		"no audience": {Subject: "s", TTL: time.Hour},
		"no TTL":      {Subject: "s", Audience: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := i.Sign(grant); err == nil {
				t.Error("Sign() succeeded, want an error")
			}
		})
	}
}

func TestServeHTTP(t *testing.T) {
	i := open(t, t.TempDir())
	for _, test := range []struct {
		method string
		status int
		body   string
	}{
		{http.MethodGet, http.StatusOK, string(i.JWKS())},
		{http.MethodHead, http.StatusOK, ""},
		{http.MethodPost, http.StatusMethodNotAllowed, "use GET or HEAD\n"},
	} {
		t.Run(test.method, func(t *testing.T) {
			w := httptest.NewRecorder()
			i.ServeHTTP(w, httptest.NewRequest(test.method, issuer.JWKSPath, nil))
			if w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("response = %d %q, want %d %q", w.Code, w.Body, test.status, test.body)
			}
		})
	}
	if strings.Contains(string(i.JWKS()), `"d"`) {
		t.Errorf("key set = %s, want no private key", i.JWKS())
	}
}
