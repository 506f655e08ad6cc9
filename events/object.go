package events

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

// Object identifies a stored object as its S3 event announced it. The id and the order of an upload depend only on
// these fields, so repeated deliveries of an event result in the same upload id and the same versions.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
type Object struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`                 // unescaped
	VersionID string    `json:"versionId,omitempty"` // empty if the bucket is not versioned
	ETag      string    `json:"etag"`                // without quotes
	Sequencer string    `json:"sequencer"`           // hexadecimal; orders the events of one key
	Size      int64     `json:"size"`                // stored bytes
	Time      time.Time `json:"time"`                // when S3 finished the request; truncated to milliseconds
}

// MetadataContentType is the name under which adapters pass an object's Content-Type to ingest, together with the
// metadata. On S3 it is a separate header.
const MetadataContentType = "content-type"

// idAlphabet is Crockford's base32 alphabet in lower case. It has no letters that look like digits, and it sorts like
// the encoded bytes.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// uploadIDLength is the number of characters of an upload id: 128 bits in base32.
const uploadIDLength = 26

// UploadID returns the id of the object's upload: 26 characters that are safe in URLs, keys and NATS subjects. Two PUTs
// of the same bytes under the same key are two uploads, because their sequencers differ.
func (o Object) UploadID() string {
	content := o.VersionID
	if content == "" {
		content = o.ETag
	}
	h := sha256.New()
	for _, part := range []string{o.Bucket, o.Key, content, o.Sequencer} {
		fmt.Fprintf(h, "%d:%s", len(part), part) // the lengths make the boundaries unambiguous
	}
	return idEncoding.EncodeToString(h.Sum(nil)[:16])
}

// ValidUploadID reports whether s has the form of an upload id.
func ValidUploadID(s string) bool {
	return len(s) == uploadIDLength && strings.Trim(s, idAlphabet) == ""
}
