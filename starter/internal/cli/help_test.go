package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
)

// run runs a command that needs no server.
func run(t *testing.T, args ...string) (code exit.Code, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(context.Background(), args, command.Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// every calls each for every command, in the full tree.
func every(cmd *cobra.Command, each func(*cobra.Command)) {
	each(cmd)
	for _, sub := range cmd.Commands() {
		every(sub, each)
	}
}

func TestEveryCommandIsDescribedAlike(t *testing.T) {
	t.Parallel()
	verbs := map[string]bool{}
	for _, verb := range strings.Fields("Start Manage Preview List Show Watch Pause Resume Cancel Resolve Close Export " +
		"Import Delete Add Remove " +
		"Set Clear Check Update Run Print Explain Generate Send") {
		verbs[verb] = true
	}
	every((&app{}).root(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		verb, _, _ := strings.Cut(cmd.Short, " ")
		if !verbs[strings.TrimSuffix(verb, ",")] {
			t.Errorf("%s: %q does not begin with one of the known verbs", path, cmd.Short)
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: %q ends with a full stop", path, cmd.Short)
		}
		for _, text := range []string{cmd.Long, cmd.Example} {
			for line := range strings.Lines(text) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
					t.Errorf("%s: %d columns: %s", path, n, line)
				}
			}
		}
		for line := range strings.Lines(cmd.UsageString()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 {
				t.Errorf("%s: %d columns: %s", path, n, line)
			}
		}
		if cmd.IsAdditionalHelpTopicCommand() {
			return
		}
		if !cmd.Runnable() || cmd.Example == "" {
			t.Errorf("%s has no example, or cannot be run", path)
		}
		for line := range strings.Lines(cmd.Example) {
			line = strings.TrimRight(line, "\n")
			if line != "" && !strings.HasPrefix(line, "  ") || strings.Contains(strings.TrimSpace(line), "   ") {
				t.Errorf("%s: an example line is not indented, or has a comment beside it: %q", path, line)
			}
		}
		for _, gone := range []string{"out", "format"} {
			if cmd.Flags().Lookup(gone) != nil {
				t.Errorf("%s has --%s: formats are --output, places are --output-file and --output-dir", path, gone)
			}
		}
	})
}

func TestEveryCommandOfAMailingHasAShortForm(t *testing.T) {
	t.Parallel()
	root := (&app{}).root()
	full, _, err := root.Find([]string{"mailing"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range full.Commands() {
		short, _, err := root.Find([]string{cmd.Name()})
		if err != nil || short.Parent() != root || short.Short != cmd.Short || short.Long != cmd.Long {
			t.Errorf("%s has no short form: %v", cmd.CommandPath(), err)
		}
	}
	for _, sub := range []string{"start", "ls", "show", "watch", "pause", "resume", "cancel", "resolve", "close", "report",
		"preview"} {
		if cmd, _, err := root.Find([]string{"mailing", sub}); err != nil || cmd.Name() != sub {
			t.Errorf("there is no `starter mailing %s`", sub)
		}
	}
}

func TestAnUnknownWordIsBadUsageEverywhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, says string
	}{
		{"help nonsense", `"nonsense" is not a command: see ` + "`starter --help`"},
		{"help strat", "did you mean `starter start`?"},
		{"help list nonsense", `"nonsense" is not a command: see ` + "`starter list --help`"},
		{"help ls nonsense", "`starter ls` has no subcommands"},
		{"completion foo", `"foo" is not a command: see ` + "`starter completion --help`"},
		{"completion bash foo", `unexpected argument "foo"`},
		{"list newsletter-2026-11", "`starter mailing ls` lists mailings"},
		{"mailing shwo x", "did you mean `starter mailing show`?"},
		{"version x", `unexpected argument "x": usage: starter version`},
		{"show", "the mailing's ID is missing: usage: starter show ID"},
		{"ls --limit x", `--limit: "x" is not a whole number`},
		{"ls --limit 99999999999999999999", `--limit: "99999999999999999999" is not a whole number`},
		{"ls --limit 0", "--limit is 0: set it to 1 to 10000"},
		{"ls --limit", "--limit needs a value"},
		{"ls -z", "unknown flag -z"},
		{"ls ---x", `"---x" is not a flag`},
		{"ls --limti 5", "unknown flag --limti: did you mean --limit?"},
		{"ls --format json", "unknown flag --format: did you mean --output?"},
		{"ls --output xml", `--output: "xml" is not table or json`},
		{"report x --output table", `--output: "table" is not csv or json`},
		{"report x --out y", "unknown flag --out: did you mean --output-file?"},
		{"start --watch=maybe", `--watch: "maybe" is not true or false`},
		{"start --watch --dry-run -f x", "give either --watch or --dry-run"},
		{"resolve x --as y", `--as: "y" is not sent or resend`},
		{"preview", "the mailing file is missing: name it with -f"},
		{"list import people missing.csv", "missing.csv: there is no such file"},
	} {
		code, _, errs := run(t, strings.Fields(c.args)...)
		if code != exit.BadInput || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("starter %s: code %d, %s", c.args, code, errs)
		}
	}
}

func TestWhatCannotBeAnIDIsSaidBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"show", "a b"}, {"show", ""}, {"watch", "a b"}, {"pause", "a b"}, {"resume", "a b"}, {"cancel", "a b"},
		{"close", "a b"},
		{"report", "a b"}, {"resolve", "a b", "--as", "sent"}, {"mailing", "show", "a b"}, {"start", "--continue", "a b"},
		{"start", "-f", "x.yaml", "--id", "a b"}, {"start", "-f", "x.yaml", "--id", ""},
		{"rate", "set", "--mailing", "a b", "5/s"},
		{"rate", "clear", "--mailing", "a b"}, {"optout", "remove", "--mailing", "a b", "--bounced"},
	} {
		if code, _, errs := run(t, args...); code != exit.BadInput ||
			!strings.Contains(errs, "is not a valid mailing ID") {
			t.Errorf("starter %q: code %d, %s", args, code, errs)
		}
	}
	for _, args := range [][]string{{"list", "show", "a b"}, {"list", "delete", "a b"},
		{"list", "import", "a b", "x.csv"}} {
		if code, _, errs := run(t, args...); code != exit.BadInput ||
			!strings.Contains(errs, "is not a valid list name") {
			t.Errorf("starter %q: code %d, %s", args, code, errs)
		}
	}
}

func TestTopicsExplainExitCodesEnvironmentAndOutput(t *testing.T) {
	t.Parallel()
	for topic, wants := range map[string][]string{
		"exit-codes":  {"    0  done", "    8  the mailing ended other", "  130  interrupted"},
		"environment": {"DATABASE_URL_FILE", "DM_WEB_UI", "TEMPORAL_ADDRESS", "DM_TASK_QUEUE"},
		"output":      {"--output-file", "--output-dir", "json"},
	} {
		for _, args := range [][]string{{"help", topic}, {topic, "--help"}} {
			code, out, errs := run(t, args...)
			for _, want := range wants {
				if code != exit.Done || !strings.Contains(out, want) {
					t.Errorf("starter %q: code %d, %s%s does not say %q", args, code, out, errs, want)
				}
			}
		}
	}
	if _, out, _ := run(t, "--help"); !strings.Contains(out, "starter help exit-codes") ||
		!strings.Contains(out, "exit-codes") {
		t.Errorf("the help names no topic:\n%s", out)
	}
	if code, out, _ := run(t, "--version"); code != exit.Done || !strings.HasPrefix(out, "direct-mailer ") {
		t.Errorf("--version: code %d, %s", code, out)
	}
}
