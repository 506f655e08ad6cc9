package gateway

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/internal/objectkey"
)

// Every name in a request becomes part of a path on this machine. versitygw only checks the key in a request's URL, so
// all names are checked here before versitygw's backend sees them.

// checkBucket returns an error unless bucket is a valid S3 bucket name. Such a name is a single path element that does
// not start with a dot.
func checkBucket(bucket string) error {
	if !utils.IsValidBucketName(bucket) {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, bucket)
	}
	return nil
}

// checkKey returns an error, which is the answer to the client, unless the gateway can store an object under exactly
// this key and list it under the same key. A key may end in one slash, which makes it a folder.
func checkKey(key string) error {
	if len(key) > objectkey.MaxLength {
		return s3err.GetKeyTooLongErr(int64(len(key)), objectkey.MaxLength)
	}
	err := objectkey.CheckText(key)
	if err == nil {
		err = objectkey.CheckPath(key)
	}
	if err == nil {
		err = checkSegments(key)
	}
	if err != nil {
		return invalidArgument("key", key, "The key "+err.Error()+". Use another key.")
	}
	return nil
}

// checkSegments returns an error if versitygw reserves a segment of a key, or can't store its metadata.
func checkSegments(key string) error {
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case strings.EqualFold(segment, posix.MetaTmpDir): // lists omit it at any depth; some file systems ignore case
			return fmt.Errorf("contains the segment %q, which is reserved", segment)
		case len(sidecarName(segment)) > objectkey.MaxSegment:
			return fmt.Errorf("contains a segment between slashes that is longer than %d bytes", objectkey.MaxSegment-1)
		}
	}
	return nil
}

// checkTexts returns an error unless an XML document can hold the arguments of a list, which its result repeats.
func checkTexts(arguments map[string]*string) error {
	for argument, text := range arguments {
		if text == nil {
			continue
		}
		if err := objectkey.CheckText(*text); err != nil {
			return invalidArgument(argument, *text, "The "+argument+" "+err.Error()+".")
		}
	}
	return nil
}

// canStartKey reports whether a valid key can start with prefix. versitygw uses the part of a prefix before its last
// slash as a path.
func canStartKey(prefix string) bool {
	folder, found := folderOf(prefix)
	return len(prefix) <= objectkey.MaxLength && (!found || checkKey(folder) == nil && !strings.HasSuffix(folder, "/"))
}

// folderOf returns what precedes the last slash of text, and whether there is one.
func folderOf(text string) (folder string, found bool) {
	if at := strings.LastIndexByte(text, '/'); at >= 0 {
		return text[:at], true
	}
	return "", false
}

var uploadID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkUploadID returns NoSuchUpload unless id is a lower-case UUID, like all IDs that versitygw creates.
func checkUploadID(id string) error {
	if !uploadID.MatchString(id) {
		return s3err.GetNoSuchUploadErr(id)
	}
	return nil
}

// checkVersion returns an error unless version names the only version that an object has here.
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
