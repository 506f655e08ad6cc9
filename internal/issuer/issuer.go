// Package issuer is the token issuer of one machine: for trying flavorless out, for developing and for its tests, where
// no identity provider is at hand. It is a key in a file, and whoever can read that file can sign tokens; nobody else's
// tokens and no user accounts are involved.
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

// File is the name of the file in the issuer's folder. It holds the issuer's name and, as a JWK (RFC 7517), its private
// key.
const File = "issuer.json"

// JWKSPath is where issuers usually publish their keys.
const JWKSPath = "/.well-known/jwks.json"

// namePrefix marks the tokens of this package: no identity provider has such a name.
const namePrefix = "urn:flavorless:development:"

// Config of an Issuer. Only Dir is required.
type Config struct {
	Dir   string           // where the key is; made if it is not there
	Clock func() time.Time // default: time.Now
}

// Issuer signs tokens with ES256. It is safe for concurrent use.
type Issuer struct {
	name   string
	signer jose.Signer
	keys   []byte // the key set, as JSON
	clock  func() time.Time
}

// stored is the form of the file.
type stored struct {
	Name string         `json:"issuer"`
	Key  jsontext.Value `json:"key"`
}

// Open loads the issuer of the folder, or makes one if there is none yet. Name and key then stay as they are.
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
		return stored{}, fmt.Errorf("%s holds a private key and others may use it (mode %04o); chmod it to 0600", path, mode)
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

// create makes an issuer, unless another process has made one meanwhile.
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
	body, err := json.Marshal(stored{Name: namePrefix + strings.ToLower(rand.Text()), Key: private}, jsontext.Multiline(true))
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
	// A link appears whole or not at all, and never in the place of another file.
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
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, new(jose.SignerOptions).WithType("JWT"))
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

// Name is what tokens have as "iss".
func (i *Issuer) Name() string { return i.name }

// JWKS gives the public key as a JSON Web Key Set.
func (i *Issuer) JWKS() []byte { return append([]byte(nil), i.keys...) }

// ServeHTTP serves the key set. Mount it at JWKSPath.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Length", strconv.Itoa(len(i.keys)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(i.keys) // the client may have gone
	}
}

// Grant is what a token is to say.
type Grant struct {
	Subject  string
	Audience string
	Scope    string        // one or several, separated by spaces; may be empty
	TTL      time.Duration // how long the token is good, in whole seconds
}

// Sign makes a token (RFC 7519).
func (i *Issuer) Sign(grant Grant) (string, error) {
	switch {
	case grant.Subject == "":
		return "", errors.New("signing a token: the subject is missing")
	case grant.Audience == "":
		return "", errors.New("signing a token: the audience is missing")
	case grant.TTL < time.Second:
		return "", fmt.Errorf("signing a token: it would be good for %s; give it a second or more", grant.TTL)
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
