package events

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Version is the place of one row in the total order of all updates ever made. Versions have a fixed width and compare
// as text:
//
//	0198f2c1a0bb-0055aed6dcd90281e5000000000000000000-5v2k…(26)-00000000002a
//	time, ms     S3 sequencer, right-padded           upload id  byte offset of the row
//
// A table keeps, per person, the row with the greatest version. No two rows share one: the upload id sets uploads
// apart, the offset the rows of one upload.
type Version string

const (
	timeWidth      = 12 // hexadecimal milliseconds since 1970: good until the year 10889
	sequencerWidth = 32 // S3's have had 16 to 18 so far; longer ones are cut
	offsetWidth    = 12 // hexadecimal bytes: files up to 256 TiB
	originWidth    = timeWidth + 1 + sequencerWidth + 1 + uploadIDLength
	versionWidth   = originWidth + 1 + offsetWidth

	// MaxOffset is the greatest row offset that a Version can hold, in bytes.
	MaxOffset = 1<<(4*offsetWidth) - 1
)

// Origin is what all versions of one upload begin with: the order of uploads among each other. It compares as text.
type Origin string

// Origin gives the place of the object's rows among those of all other uploads.
// It fails if the sequencer is not hexadecimal or the time lies before 1970.
func (o Object) Origin() (Origin, error) {
	// Of two sequencers the shorter is right-padded with zeros and then compared as text, says
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
	sequencer := strings.ToLower(o.Sequencer)
	if len(sequencer) > sequencerWidth {
		sequencer = sequencer[:sequencerWidth]
	}
	sequencer += strings.Repeat("0", sequencerWidth-len(sequencer))
	if _, err := hex.DecodeString(sequencer); err != nil {
		return "", fmt.Errorf("sequencer %q is not hexadecimal", o.Sequencer)
	}
	ms := o.Time.UnixMilli()
	if ms < 0 || ms >= 1<<(4*timeWidth) {
		return "", fmt.Errorf("event time %s is outside of what a version can hold", o.Time)
	}
	return Origin(fmt.Sprintf("%0*x-%s-%s", timeWidth, ms, sequencer, o.UploadID())), nil
}

// At gives the version of the row that starts at byte offset of the decompressed file.
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
		!isHex(s[:timeWidth]) || !isHex(s[timeWidth+1:timeWidth+1+sequencerWidth]) || !ValidUploadID(s[originWidth-uploadIDLength:]) {
		return "", fmt.Errorf("%q is not the origin of a version", s)
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
	return "", fmt.Errorf("%q is not a version", s)
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

// ValidUploadID tells whether s has the form of an upload id.
func ValidUploadID(s string) bool {
	_, err := idAlphabet.DecodeString(s)
	return len(s) == uploadIDLength && err == nil
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}
