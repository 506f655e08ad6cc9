// Package objectkey holds the rules for object keys that the command line and the bucket on one machine share. It imports no
// vendor's package.
//
// The text of each error continues "the key …", such as "is not UTF-8".
package objectkey

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	MaxLength  = 1024 // bytes of a key, as on S3
	MaxSegment = 255  // bytes of a segment between slashes: of a file name that all common file systems can store
	MaxDepth   = 64   // segments: each takes a folder, so that short requests could fill a disk
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
		return fmt.Errorf("has the character %U", r)
	}
	if climbs(key) {
		return errors.New(`has more segments ".." than other segments before them`)
	}
	return nil
}

// CheckPath returns an error unless key can be the path of a file as it stands. One slash at the end makes a key a folder
// marker, whose path is that of a folder.
func CheckPath(key string) error {
	if strings.Count(key, "/") >= MaxDepth {
		return fmt.Errorf("has more than %d segments between slashes", MaxDepth)
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case segment == "":
			return errors.New("has a segment between slashes that is empty")
		case segment == "." || segment == "..":
			return fmt.Errorf("has a segment between slashes that is %q, which a file system takes for another folder", segment)
		case len(segment) > MaxSegment:
			return fmt.Errorf("has a segment between slashes that is longer than %d bytes", MaxSegment)
		}
	}
	return nil
}

// CheckText returns an error unless text fits into an XML 1.0 document, in which S3 lists keys. The clients' way around that,
// encoding-type=url, is optional.
// https://www.w3.org/TR/xml/#charsets
func CheckText(text string) error {
	if !utf8.ValidString(text) {
		return errNotUTF8
	}
	for _, r := range text {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Errorf("has the character %U, which S3 can't list", r)
		}
	}
	return nil
}

// climbs reports whether a key has more relative segments than other segments before them. S3 refuses such keys.
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
