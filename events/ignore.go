package events

import (
	"fmt"
	"path"
	"strings"
)

// IgnoreList is a list of patterns of file names. Objects that match are not uploads: consoles, jobs and operating
// systems leave such files next to real ones.
type IgnoreList []string

// DefaultIgnoreList returns patterns of the files that Spark and Hadoop jobs, macOS and Windows create.
func DefaultIgnoreList() IgnoreList {
	return IgnoreList{
		"_SUCCESS", "_started_*", "_committed_*", "*.crc", "*_$folder$", // Spark, Hadoop
		".DS_Store", "._*", // macOS
		"Thumbs.db", "desktop.ini", // Windows
	}
}

// ParseIgnoreList returns a list of patterns in the syntax of [path.Match]. It fails if a pattern is invalid.
func ParseIgnoreList(patterns []string) (IgnoreList, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			return nil, fmt.Errorf("%q is not a valid file name pattern; use a pattern without slashes, such as *.tmp", p)
		}
	}
	return patterns, nil
}

// Match reports whether o is to be ignored: the last segment of its key matches a pattern, or it is a folder marker (an
// empty object whose key ends in a slash).
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
