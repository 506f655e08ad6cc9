// Package version says which build of flavorless is running, from the build information that the Go toolchain puts
// into each binary.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Info describes a build.
type Info struct {
	Version  string `json:"version"`           // of the module, such as v1.2.3; "devel" without a tag
	Commit   string `json:"commit,omitzero"`   // full hash; empty if the build did not record one
	Time     string `json:"time,omitzero"`     // of the commit, in RFC 3339; empty if the build did not record one
	Modified bool   `json:"modified,omitzero"` // whether the work tree had changes that were not committed
	Go       string `json:"go"`                // version of the Go toolchain, such as go1.26.0
	Platform string `json:"platform"`          // operating system and architecture, such as linux/amd64
}

// Get returns the description of the running binary.
func Get() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return of(build)
}

// of returns the description of a build.
func of(build *debug.BuildInfo) Info {
	info := Info{
		Version: strings.Trim(build.Main.Version, "()"), Go: build.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = s.Value
		case "vcs.time":
			info.Time = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
}

// String returns the version of the running binary on one line, such as "v1.2.3 (commit 4d1f0e6a9b2c, go1.26.0,
// linux/amd64)".
func String() string { return Get().String() }

// String returns the description on one line.
func (i Info) String() string {
	var parts []string
	if i.Commit != "" {
		commit := "commit " + i.Commit[:min(len(i.Commit), 12)]
		if i.Modified {
			commit += " with changes"
		}
		parts = append(parts, commit)
	}
	parts = append(parts, i.Go, i.Platform)
	return i.Version + " (" + strings.Join(parts, ", ") + ")"
}
