// Package servers runs a private PostgreSQL and a private Temporal server for `starter dev`,
// `starter demo` and the tests.
//
// The binaries of PostgreSQL are those of the system. The Temporal server is the `temporal` on
// PATH, or is built once from the module file in tools/temporal. Both servers listen on the
// loopback only and keep their data in a folder that the caller names. They run in process groups
// of their own, so that Ctrl-C reaches this program and not them. On Linux they end when this
// program ends, also when it is killed. On other systems, the next start on the same folder stops a
// server that a killed program has left.
package servers

// Progress receives a line of text for each step.
type Progress func(format string, args ...any)

// Silent is a Progress that ignores every line.
func Silent(string, ...any) {}

func (p Progress) orSilent() Progress {
	if p == nil {
		return Silent
	}
	return p
}
