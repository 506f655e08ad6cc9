package events

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

// Object names one stored object exactly as its S3 event announced it. Keys are unescaped.
//
// Everything that identifies an upload, and orders it among others, is derived from these fields alone, so an event
// that is delivered twice, or run again a week later, gives the very same upload id and the very same versions.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
type Object struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	VersionID string    `json:"versionId,omitempty"` // empty when the bucket is not versioned
	ETag      string    `json:"etag"`                // without quotes
	Sequencer string    `json:"sequencer"`           // hexadecimal; orders the events of one key
	Size      int64     `json:"size"`                // bytes, as stored
	Time      time.Time `json:"time"`                // when S3 finished the request; milliseconds count
}

// MetadataContentType is the name of an object's Content-Type among the metadata that adapters pass to ingest. On S3 it is no
// metadata, but a header of its own.
const MetadataContentType = "content-type"

// idAlphabet is Crockford's base32 in lower case: no letter that reads like a digit, and it sorts as bytes do.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// uploadIDLength is the number of characters of an upload id: 128 bits in base32.
const uploadIDLength = 26

// UploadID derives the id of the upload that this object is: 26 characters that are safe in URLs, keys and subjects.
// Two PUTs of the same bytes under the same key are two uploads, because their sequencers differ.
func (o Object) UploadID() string {
	content := o.VersionID
	if content == "" {
		content = o.ETag
	}
	h := sha256.New()
	for _, part := range []string{o.Bucket, o.Key, content, o.Sequencer} {
		fmt.Fprintf(h, "%d:%s", len(part), part) // lengths, so that no part can run into the next
	}
	return idEncoding.EncodeToString(h.Sum(nil)[:16])
}

// ValidUploadID tells whether s has the form of an upload id.
func ValidUploadID(s string) bool {
	return len(s) == uploadIDLength && strings.Trim(s, idAlphabet) == ""
}
