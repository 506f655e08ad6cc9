package gateway

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// Every name in a request becomes part of a path on this machine. versitygw checks the key in a request's URL only, so
// all names are checked here, before its backend sees them.

const (
	maxKey     = 1024 // bytes, as on S3
	maxSegment = 255  // bytes of a file name that all common file systems can store
	maxDepth   = 64   // segments: each takes a folder, so that short requests could fill a disk
)

// checkBucket returns an error unless bucket is a bucket name as S3 defines it. Such a name is a single path element
// that does not begin with a dot.
func checkBucket(bucket string) error {
	if !utils.IsValidBucketName(bucket) {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, bucket)
	}
	return nil
}

// checkKey returns an error, which is the answer to the client, unless the gateway can store an object under exactly
// this key and list it under the same key. One slash at the end makes a key a folder marker.
func checkKey(key string) error {
	if len(key) > maxKey {
		return s3err.GetKeyTooLongErr(int64(len(key)), maxKey)
	}
	if why := unprintable(key); why != "" {
		return badName("key", key, "The key "+why+". Use another key.")
	}
	if strings.Count(key, "/") >= maxDepth {
		return badName("key", key, fmt.Sprintf("The key has more than %d segments between slashes. Use another key.", maxDepth))
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if why := badSegment(segment); why != "" {
			return badName("key", key, "The key has a segment between slashes that "+why+". Use another key.")
		}
	}
	return nil
}

// badSegment returns what is wrong with one segment of a key, and nothing if it can be a file name.
func badSegment(segment string) string {
	switch {
	case segment == "":
		return "is empty"
	case segment == "." || segment == "..":
		return fmt.Sprintf("is %q, which a file system takes for another folder", segment)
	case strings.EqualFold(segment, posix.MetaTmpDir): // some file systems ignore case; lists leave it out at any depth
		return fmt.Sprintf("is %q, which is reserved", segment)
	case len(besideName(segment)) > maxSegment:
		return fmt.Sprintf("is longer than %d bytes", maxSegment)
	}
	return ""
}

// unprintable returns what keeps text out of an XML 1.0 document, in which S3 lists keys, and nothing if it fits.
// https://www.w3.org/TR/xml/#charsets
func unprintable(text string) string {
	if !utf8.ValidString(text) {
		return "is not UTF-8"
	}
	for _, r := range text {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Sprintf("has the character %U, which S3 can't list", r)
		}
	}
	return ""
}

// checkTexts returns an error unless the arguments of a list, which it repeats, can be shown there.
func checkTexts(arguments map[string]*string) error {
	for argument, text := range arguments {
		if text == nil {
			continue
		}
		if why := unprintable(*text); why != "" {
			return badName(argument, *text, "The "+argument+" "+why+".")
		}
	}
	return nil
}

// begins reports whether any valid key begins with prefix. versitygw takes the part of a prefix before its last slash
// for a path.
func begins(prefix string) bool {
	if prefix == "" {
		return true
	}
	folder, _, found := cutLast(prefix)
	return len(prefix) <= maxKey && (!found || checkKey(folder) == nil && !strings.HasSuffix(folder, "/"))
}

// cutLast splits text at its last slash.
func cutLast(text string) (before, after string, found bool) {
	if at := strings.LastIndexByte(text, '/'); at >= 0 {
		return text[:at], text[at+1:], true
	}
	return "", text, false
}

var uploadID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkUploadID returns NoSuchUpload unless id has the form of those that versitygw makes: a UUID in lower case.
func checkUploadID(id string) error {
	if !uploadID.MatchString(id) {
		return s3err.GetNoSuchUploadErr(id)
	}
	return nil
}

// checkVersion returns an error unless version is that of the only version that an object has here.
func checkVersion(version *string) error {
	if version != nil && *version != "" && *version != "null" {
		return s3err.GetInvalidArgumentErr(s3err.InvalidArgVersionId, *version)
	}
	return nil
}

// copySource splits the source of a copy and checks its parts.
func copySource(source string) (bucket, key string, err error) {
	bucket, key, version, err := backend.ParseCopySource(source)
	if err == nil {
		err = checkBucket(bucket)
	}
	if err == nil {
		err = checkKey(key)
	}
	if err == nil {
		err = checkVersion(&version)
	}
	return bucket, key, err
}

// badName returns InvalidArgument.
func badName(argument, value, why string) error {
	return s3err.InvalidArgumentError{Description: why, ArgumentName: argument, ArgumentValue: value}
}
