// Package objectkey checks object keys for the command line and the one-machine bucket.
//
// The text of each error continues "the key …", for example "is not UTF-8".
package objectkey

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A segment is the part of a key between two slashes.
const (
	MaxLength  = 1024 // bytes of a key, as on S3
	MaxSegment = 255  // bytes of a segment; all common file systems can store file names of this length
	MaxDepth   = 64   // segments; each one is a folder, so short requests with many segments could fill a disk
)

var errNotUTF8 = errors.New("is not UTF-8")

// CheckS3 returns an error unless S3 can store an object under key, and SNS and SQS can carry messages that name it.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func CheckS3(key string) error {
	if len(key) > MaxLength {
		return fmt.Errorf("is longer than %d bytes", MaxLength)
	}
	if !utf8.ValidString(key) {
		return errNotUTF8
	}
	if at := strings.IndexAny(key, "\x00\ufffe\uffff"); at >= 0 {
		r, _ := utf8.DecodeRuneInString(key[at:])
		return fmt.Errorf("contains the character %U", r)
	}
	if climbs(key) {
		return errors.New(`contains more segments ".." than other segments before them`)
	}
	return nil
}

// CheckPath returns an error unless key can be used unchanged as the path of a file or, if it ends in one slash, of a
// folder.
func CheckPath(key string) error {
	if strings.Count(key, "/") >= MaxDepth {
		return fmt.Errorf("contains more than %d segments between slashes", MaxDepth)
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case segment == "":
			return errors.New("contains an empty segment: it starts with a slash or contains two slashes in a row")
		case segment == "." || segment == "..":
			return fmt.Errorf("contains the segment %q, which refers to another folder in a file system", segment)
		case len(segment) > MaxSegment:
			return fmt.Errorf("contains a segment between slashes that is longer than %d bytes", MaxSegment)
		}
	}
	return nil
}

// CheckText returns an error unless an XML 1.0 document, in which S3 lists keys, can contain text. Clients may ask for
// encoded keys with encoding-type=url, but need not.
// https://www.w3.org/TR/xml/#charsets
func CheckText(text string) error {
	if !utf8.ValidString(text) {
		return errNotUTF8
	}
	for _, r := range text {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Errorf("contains the character %U, which S3 can't list", r)
		}
	}
	return nil
}

// climbs reports whether a key contains more segments ".." than other segments before them. S3 refuses such keys.
func climbs(key string) bool {
	depth := 0
	for segment := range strings.SplitSeq(key, "/") {
		if segment == ".." {
			depth--
		} else if segment != "" && segment != "." {
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}
