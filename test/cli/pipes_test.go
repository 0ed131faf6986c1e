//go:build unix

package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestACommandThatReadsFromASilentPipeStopsWhenItIsTold writes to the pipe first, so that the
// command is known to read.
func TestACommandThatReadsFromASilentPipeStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	pipe := filepath.Join(s.dir, "pipe.csv")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	mailing := s.write("mailing.yaml", "from: a@example.com\nsubject: x\n"+
		"list:\n  name: l\n  file: pipe.csv\ncontent:\n  text: x\n")
	for name, args := range map[string][]string{
		"a list":                       {"list", "import", "l", pipe},
		"the list of a mailing":        {"start", "-f", mailing},
		"opt-outs":                     {"optout", "add", "--file", pipe},
		"opt-outs, the standard input": {"optout", "add", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.inTest(t)
			cmd := s.command(t.Context(), args...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			writer := startReading(t, cmd, pipe, args[len(args)-1] == "-")
			defer writer.Close()
			// More than a pipe holds, so that the command has read some of it afterwards.
			if _, err := io.WriteString(writer, strings.Repeat("# nobody\n", 10_000)); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d\n%s", code, said.String())
			}
		})
	}
}

// startReading starts the command and returns what writes to its pipe or its standard input.
func startReading(t *testing.T, cmd *exec.Cmd, pipe string, standard bool) io.WriteCloser {
	t.Helper()
	if standard {
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return in
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
	if err != nil {
		t.Fatal(err)
	}
	return writer
}
