// Package issuer issues tokens on one machine, for trying flavorless out, for development and for tests, where there
// is no identity provider. Its private key is in a file; anyone who can read the file can sign tokens. There are no
// user accounts.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// File is the name of the file in the issuer's folder. It contains the issuer's name and its private key, which is a
// JWK (RFC 7517).
const File = "issuer.json"

// JWKSPath is the path at which issuers usually publish their keys.
const JWKSPath = "/.well-known/jwks.json"

// namePrefix distinguishes issuers of this package from identity providers, whose names are URLs.
const namePrefix = "urn:flavorless:development:"

// Config configures an Issuer. Dir is required.
type Config struct {
	Dir   string           // folder of the key; created if it does not exist
	Clock func() time.Time // default: time.Now
}

// Issuer signs tokens with ES256. It is safe for concurrent use.
type Issuer struct {
	name   string
	signer jose.Signer
	keys   []byte // the key set, as JSON
	clock  func() time.Time
}

// stored is the content of the file.
type stored struct {
	Name string         `json:"issuer"`
	Key  jsontext.Value `json:"key"`
}

// Open loads the issuer in the folder, or creates one if there is none.
func Open(config Config) (*Issuer, error) {
	if config.Clock == nil {
		config.Clock = time.Now
	}
	path := filepath.Join(config.Dir, File)
	file, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path); err == nil {
			file, err = load(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the issuer: %w", err)
	}
	issuer, err := newIssuer(file, config.Clock)
	if err != nil {
		return nil, fmt.Errorf("opening the issuer of %s: %w", path, err)
	}
	return issuer, nil
}

func load(path string) (stored, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stored{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return stored{}, fmt.Errorf("%s contains a private key, but has mode %04o; run chmod 600 on it", path, mode)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return stored{}, err
	}
	var file stored
	if err := json.Unmarshal(body, &file); err != nil {
		return stored{}, fmt.Errorf("parsing %s: %w", path, err)
	}
	return file, nil
}

// create creates an issuer, unless another process creates one at the same time.
func create(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	jwk := jose.JSONWebKey{Key: key, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return err
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	private, err := jwk.MarshalJSON()
	if err != nil {
		return err
	}
	file := stored{Name: namePrefix + strings.ToLower(rand.Text()), Key: private}
	body, err := json.Marshal(file, jsontext.Multiline(true))
	if err != nil {
		return err
	}

	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, File+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(body, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// A link is atomic and never replaces a file.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func newIssuer(file stored, clock func() time.Time) (*Issuer, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(file.Key); err != nil {
		return nil, err
	}
	if private, ok := key.Key.(*ecdsa.PrivateKey); !ok || private.Curve != elliptic.P256() || key.KeyID == "" {
		return nil, errors.New("its key is not a private P-256 key with an id")
	}
	if !strings.HasPrefix(file.Name, namePrefix) {
		return nil, fmt.Errorf("its name %q does not begin with %s", file.Name, namePrefix)
	}
	signingKey := jose.SigningKey{Algorithm: jose.ES256, Key: key}
	signer, err := jose.NewSigner(signingKey, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(struct {
		Keys []jose.JSONWebKey `json:"keys"`
	}{[]jose.JSONWebKey{key.Public()}})
	if err != nil {
		return nil, err
	}
	return &Issuer{name: file.Name, signer: signer, keys: append(keys, '\n'), clock: clock}, nil
}

// Name returns the "iss" of the tokens.
func (i *Issuer) Name() string { return i.name }

// JWKS returns the public key as a JSON Web Key Set.
func (i *Issuer) JWKS() []byte { return append([]byte(nil), i.keys...) }

// ServeHTTP serves the key set. Mount it at JWKSPath.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Length", strconv.Itoa(len(i.keys)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(i.keys) // the client may have disconnected
	}
}

// Grant has the contents of a token.
type Grant struct {
	Subject  string
	Audience string
	Scope    string        // scopes, separated by spaces; may be empty
	TTL      time.Duration // validity, in whole seconds
}

// Sign returns a signed token (RFC 7519).
func (i *Issuer) Sign(grant Grant) (string, error) {
	switch {
	case grant.Subject == "":
		return "", errors.New("signing a token: Subject is required")
	case grant.Audience == "":
		return "", errors.New("signing a token: Audience is required")
	case grant.TTL < time.Second:
		return "", fmt.Errorf("signing a token: TTL is %s, want at least 1s", grant.TTL)
	}
	now := i.clock()
	payload, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Scope    string `json:"scope,omitempty"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		ID       string `json:"jti"`
	}{i.name, grant.Subject, grant.Audience, grant.Scope, now.Unix(), now.Add(grant.TTL).Unix(), rand.Text()})
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed.CompactSerialize()
}
