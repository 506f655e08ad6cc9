package events

import (
	"fmt"
	"path"
	"strings"
)

// IgnoreList holds patterns of file names. Objects that match are no uploads: nobody wrote them to have them read, but a
// console, a job or an operating system leaves them beside those that are.
type IgnoreList []string

// DefaultIgnoreList returns the patterns that apply unless the operator gives others: what Spark and Hadoop jobs, macOS and
// Windows leave behind.
func DefaultIgnoreList() IgnoreList {
	return IgnoreList{"_SUCCESS", "_started_*", "_committed_*", "*.crc", "*_$folder$", ".DS_Store", "._*", "Thumbs.db", "desktop.ini"}
}

// ParseIgnoreList checks patterns, which have the syntax of [path.Match].
func ParseIgnoreList(patterns []string) (IgnoreList, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			return nil, fmt.Errorf("%q is not a pattern of file names; write one like *.tmp, without a slash", p)
		}
	}
	return patterns, nil
}

// Match reports whether an object is ignored: if it is a folder marker, which is an empty object whose key ends in a slash, or if
// the last segment of its key matches a pattern.
func (l IgnoreList) Match(o Object) bool {
	if strings.HasSuffix(o.Key, "/") {
		return o.Size == 0
	}
	name := o.Key[strings.LastIndexByte(o.Key, '/')+1:]
	for _, p := range l {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}
