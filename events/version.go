package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Version is the position of a row in the total order of all rows. Versions have a fixed width and compare as text:
//
//	01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc-00000000002a
//	time, ms     S3 sequencer, right-padded       upload id                  byte offset of the row
//
// A table keeps the row with the greatest version of each person. Versions are unique, because the upload id differs
// between uploads and the offset between the rows of an upload.
type Version string

const (
	timeWidth      = 12 // hexadecimal milliseconds since 1970
	sequencerWidth = 32 // S3's have 16 to 18 digits so far; longer ones are cut
	offsetWidth    = 12 // hexadecimal bytes: files up to 256 TiB
	originWidth    = timeWidth + 1 + sequencerWidth + 1 + uploadIDLength
	versionWidth   = originWidth + 1 + offsetWidth

	maxTime    = 253402300799999 // ms; the end of the year 9999, the last that RFC 3339 can represent
	maxTimeHex = "e677d21fdbff"

	// MaxOffset is the maximum offset of a row, in bytes.
	MaxOffset = 1<<(4*offsetWidth) - 1
)

// Origin is the common prefix of all versions of an upload. It orders uploads and compares as text.
type Origin string

// Origin returns the origin of the object's upload. It fails if the object has no hexadecimal sequencer, or if its time
// is not in the years 1970 to 9999.
func (o Object) Origin() (Origin, error) {
	// Sequencers of different lengths are compared as text after right-padding the shorter one with zeros:
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
	sequencer := strings.ToLower(o.Sequencer)
	switch {
	case sequencer == "": // two PUTs of the same bytes would be one upload
		return "", errors.New("the object has no sequencer")
	case !isHex(sequencer):
		return "", fmt.Errorf("sequencer %.80q is not hexadecimal", o.Sequencer)
	case len(sequencer) > sequencerWidth:
		sequencer = sequencer[:sequencerWidth]
	}
	sequencer += strings.Repeat("0", sequencerWidth-len(sequencer))
	ms := o.Time.UnixMilli()
	if ms < 0 || ms > maxTime {
		return "", fmt.Errorf("event time %s is not in the years 1970 to 9999", o.Time)
	}
	return Origin(fmt.Sprintf("%0*x-%s-%s", timeWidth, ms, sequencer, o.UploadID())), nil
}

// At returns the version of the row that starts at the given byte of the decompressed file, from 0 to MaxOffset.
func (o Origin) At(offset int64) Version {
	const digits = "0123456789abcdef"
	b := make([]byte, len(o)+1+offsetWidth)
	n := copy(b, o)
	b[n] = '-'
	for i := len(b) - 1; i > n; i-- {
		b[i] = digits[offset&0xf]
		offset >>= 4
	}
	return Version(b)
}

// UploadID returns the id of the upload, or "" if o is invalid.
func (o Origin) UploadID() string {
	if len(o) != originWidth {
		return ""
	}
	return string(o[originWidth-uploadIDLength:])
}

// Time returns the time of the upload in UTC, truncated to milliseconds, or the zero time if o is invalid.
func (o Origin) Time() time.Time {
	if len(o) != originWidth {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(string(o[:timeWidth]), 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ParseOrigin returns s as an Origin. It fails if s is not in the form of one.
func ParseOrigin(s string) (Origin, error) {
	if len(s) != originWidth || s[timeWidth] != '-' || s[timeWidth+1+sequencerWidth] != '-' ||
		!isHex(s[:timeWidth]) || s[:timeWidth] > maxTimeHex ||
		!isHex(s[timeWidth+1:timeWidth+1+sequencerWidth]) || !ValidUploadID(s[originWidth-uploadIDLength:]) {
		return "", fmt.Errorf("%.200q is not an origin", s)
	}
	return Origin(s), nil
}

// ParseVersion returns s as a Version. It fails if s is not in the form of one.
func ParseVersion(s string) (Version, error) {
	if len(s) == versionWidth && s[originWidth] == '-' && isHex(s[originWidth+1:]) {
		if _, err := ParseOrigin(s[:originWidth]); err == nil {
			return Version(s), nil
		}
	}
	return "", fmt.Errorf("%.200q is not a version", s)
}

// Origin returns the origin of the row's upload.
func (v Version) Origin() Origin {
	if len(v) != versionWidth {
		return ""
	}
	return Origin(v[:originWidth])
}

// Offset returns the byte at which the row starts in the decompressed file.
func (v Version) Offset() int64 {
	if len(v) != versionWidth {
		return 0
	}
	n, _ := strconv.ParseInt(string(v[originWidth+1:]), 16, 64) // 0 with an error
	return n
}

// UploadID returns the id of the row's upload.
func (v Version) UploadID() string { return v.Origin().UploadID() }

// Time returns the time of the row's upload in UTC, truncated to milliseconds.
func (v Version) Time() time.Time { return v.Origin().Time() }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
