// Package temporal has, as text, the module file from which the private Temporal server is built.
// So a program outside a checkout can build the server too, and the server is no dependency of the
// main module.
//
// docker-compose.yml builds its Temporal server from the same file. To change the version:
//
//	go get -tool -modfile=tools/temporal/temporal.mod github.com/temporalio/cli/cmd/temporal@VERSION
//
// modernc.org/sqlite is newer than the Temporal CLI asks for. Before 1.51, a cancelled call made
// the development server answer every later call with "interrupted (9)".
package temporal

import _ "embed"

// Program is the package to build.
const Program = "github.com/temporalio/cli/cmd/temporal"

// Mod and Sum are the contents of go.mod and go.sum.
var (
	//go:embed temporal.mod
	Mod []byte
	//go:embed temporal.sum
	Sum []byte
)
