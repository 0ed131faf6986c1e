// Package buildinfo tells which build of Direct Mailer a program is.
package buildinfo

import (
	"fmt"
	"runtime/debug"
)

// A release build sets these with the linker flag -X, because it is built without the checkout's
// history: -X directmailer/internal/buildinfo.version=1.2.0.
var (
	version  string
	revision string
)

// Build identifies a build.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source code; "+changes" follows where files were changed
	Go       string `json:"go"`
}

// Read returns the build of this program: what the linker was told, else what Go stored in the
// binary.
func Read() Build {
	b := Build{Version: "(devel)", Revision: "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.read(info)
	}
	if version != "" {
		b.Version = version
	}
	if revision != "" {
		b.Revision = revision
	}
	return b
}

func (b *Build) read(info *debug.BuildInfo) {
	b.Go = info.GoVersion
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	b.Revision += modified
}

// ID is the build in one word: version@revision.
func (b Build) ID() string { return b.Version + "@" + b.Revision }

// String is the build in one line.
func (b Build) String() string {
	return fmt.Sprintf("direct-mailer %s %s %s", b.Version, b.Revision, b.Go)
}
