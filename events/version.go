package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Version is the place of one row in the total order of all updates ever made. Versions have a fixed width and compare
// as text:
//
//	01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc-00000000002a
//	time, ms     S3 sequencer, right-padded       upload id                  byte offset of the row
//
// A table keeps, per person, the row with the greatest version. No two rows share one: the upload id sets uploads
// apart, the offset the rows of one upload.
type Version string

const (
	timeWidth      = 12 // hexadecimal milliseconds since 1970
	sequencerWidth = 32 // S3's have had 16 to 18 so far; longer ones are cut
	offsetWidth    = 12 // hexadecimal bytes: files up to 256 TiB
	originWidth    = timeWidth + 1 + sequencerWidth + 1 + uploadIDLength
	versionWidth   = originWidth + 1 + offsetWidth

	maxTime    = 253402300799999 // ms; the end of the year 9999, after which RFC 3339 has no times
	maxTimeHex = "e677d21fdbff"

	// MaxOffset is the greatest row offset that a Version can hold, in bytes.
	MaxOffset = 1<<(4*offsetWidth) - 1
)

// Origin is what all versions of one upload begin with: the order of uploads among each other. It compares as text.
type Origin string

// Origin gives the place of the object's rows among those of all other uploads.
// It fails if there is no sequencer, if that is not hexadecimal, or if the time is not in the years 1970 to 9999.
func (o Object) Origin() (Origin, error) {
	// Of two sequencers the shorter is right-padded with zeros and then compared as text, says
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
	sequencer := strings.ToLower(o.Sequencer)
	switch {
	case sequencer == "": // without one, two PUTs of the same bytes would be one upload
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

// At gives the version of the row that starts at byte offset of the decompressed file, from 0 to MaxOffset.
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

// Upload gives the id of the upload.
func (o Origin) Upload() string {
	if len(o) != originWidth {
		return ""
	}
	return string(o[originWidth-uploadIDLength:])
}

// Time tells when the file was uploaded, to the millisecond, in UTC.
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

// ParseOrigin checks the form of an Origin that came from outside.
func ParseOrigin(s string) (Origin, error) {
	if len(s) != originWidth || s[timeWidth] != '-' || s[timeWidth+1+sequencerWidth] != '-' ||
		!isHex(s[:timeWidth]) || s[:timeWidth] > maxTimeHex ||
		!isHex(s[timeWidth+1:timeWidth+1+sequencerWidth]) || !ValidUploadID(s[originWidth-uploadIDLength:]) {
		return "", fmt.Errorf("%.200q is not the origin of a version", s)
	}
	return Origin(s), nil
}

// ParseVersion checks the form of a Version that came from outside.
func ParseVersion(s string) (Version, error) {
	if len(s) == versionWidth && s[originWidth] == '-' && isHex(s[originWidth+1:]) {
		if _, err := ParseOrigin(s[:originWidth]); err == nil {
			return Version(s), nil
		}
	}
	return "", fmt.Errorf("%.200q is not a version", s)
}

// Origin gives the part of the version that all rows of its upload share.
func (v Version) Origin() Origin {
	if len(v) != versionWidth {
		return ""
	}
	return Origin(v[:originWidth])
}

// Offset gives the byte at which the row starts in the decompressed file.
func (v Version) Offset() int64 {
	if len(v) != versionWidth {
		return 0
	}
	n, err := strconv.ParseInt(string(v[originWidth+1:]), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// Upload gives the id of the upload that the row came with.
func (v Version) Upload() string { return v.Origin().Upload() }

// Time tells when the row was uploaded, to the millisecond, in UTC.
func (v Version) Time() time.Time { return v.Origin().Time() }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
