package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

var reportOutcomes = []ledger.Status{ledger.Sent, ledger.Bounced, ledger.Failed, ledger.OptedOut, ledger.Uncertain, ledger.Unsent, ledger.Open}

func (a *app) reportCommand() *cobra.Command {
	var wanted []string
	var out string
	format := &choice{"csv", []string{"csv", "json"}}
	cmd := &cobra.Command{
		Use:   "report ID",
		Short: "Who got it and who did not: one line a recipient",
		Long: `Writes one line for each recipient of a mailing: address, outcome, number of attempts, whether it may have been
delivered twice, drop point, the server's code, enhanced status code and text, and when. A mailing may be reported while
it runs: recipients without an outcome are "open".

CSV is meant to be opened in a spreadsheet: a value that would be taken for a formula there has an apostrophe before it,
and control characters are blanks. JSON has the exact values, as one array with an element a line. Both are written while
the ledger is read, however long it is.

When the mailing has ended, the command says on the standard error how many addresses it suppressed for later mailings,
and which drop points called too many addresses non-existent to be believed.`,
		Example: `  starter report newsletter-2026-11 --out who-got-it.csv
  starter report newsletter-2026-11 --outcome bounced,failed,uncertain
  starter report newsletter-2026-11 --format json | jq '.[] | select(.possibly_twice)'`,
		Args: wants("the mailing's ID"),
	}
	cmd.Flags().Var(format, "format", "csv or json")
	cmd.Flags().StringSliceVar(&wanted, "outcome", nil, "only recipients with one of these outcomes: "+joinStatuses(reportOutcomes))
	cmd.Flags().StringVar(&out, "out", "", "write to this file, which appears when it is complete (default: the standard output)")
	_ = cmd.RegisterFlagCompletionFunc("format", format.complete)
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions(strings.Split(joinStatuses(reportOutcomes), ", "), cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		outcomes, err := parseOutcomes(wanted)
		if err != nil {
			return err
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		m, err := s.mailings.Get(cmd.Context(), args[0])
		if err != nil {
			return notStored(err, args[0])
		}
		err = a.toFile(out, func(w io.Writer) error {
			return writeReport(cmd.Context(), s.ledger, m.Key, outcomes, format.value, w)
		})
		if err != nil {
			return err
		}
		if m.Suppression != nil {
			a.saySuppression(m.ID, *m.Suppression)
		}
		return nil
	}
	return cmd
}

// saySuppression tells on the standard error what the end of the mailing did about addresses that do not exist.
func (a *app) saySuppression(id string, s mailings.Suppression) {
	if s.Suppressed > 0 {
		a.say("%s suppressed: later mailings do not go to addresses that do not exist (to undo: starter optout remove --mailing %s --bounced)",
			count(s.Suppressed, "address"), id)
	}
	for _, w := range s.Withheld {
		a.say("no address suppressed on the word of drop point %s: it refused %s of %s as addresses that do not exist, %.1f %%; more than %g %% suggests a fault of the server",
			w.DropPoint, thousands(w.Bad), count(w.Answered, "recipient"), 100*w.Share(), 100*ledger.MaxBadShare)
	}
}

func notStored(err error, id string) error {
	if codeOf(err) == NotFound {
		return noMailing(id)
	}
	return err
}

func joinStatuses(all []ledger.Status) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func parseOutcomes(names []string) ([]ledger.Status, error) {
	var outcomes []ledger.Status
	for _, name := range names {
		status := ledger.Status(strings.ReplaceAll(strings.TrimSpace(name), " ", "_"))
		if !slices.Contains(reportOutcomes, status) {
			return nil, usage("--outcome: %q is none of %s", printable(name), joinStatuses(reportOutcomes))
		}
		outcomes = append(outcomes, status)
	}
	return outcomes, nil
}

// reportLine is a line of the report as JSON.
type reportLine struct {
	Address       string        `json:"address"`
	Outcome       ledger.Status `json:"outcome"`
	Attempts      int32         `json:"attempts"`
	PossiblyTwice bool          `json:"possibly_twice"`
	DropPoint     string        `json:"drop_point"`
	Code          int16         `json:"code"`
	Enhanced      string        `json:"enhanced_code"`
	Reply         string        `json:"reply"`
	At            *time.Time    `json:"at"`
}

var reportHeader = []string{"address", "outcome", "attempts", "possibly_twice", "drop_point", "code", "enhanced_code", "reply", "at"}

func writeReport(ctx context.Context, l *ledger.Ledger, key int64, outcomes []ledger.Status, format string, w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	if format == "json" {
		array := arrayWriter{w: buffered}
		err := l.Report(ctx, key, outcomes, func(x ledger.Line) error {
			return array.add(reportLine{x.Address, x.Outcome, x.Attempts, x.PossiblyTwice, x.DropPoint, x.Code, x.Enhanced, x.Reply, x.At})
		})
		if err == nil {
			err = array.end()
		}
		return first(err, buffered.Flush)
	}
	c := csv.NewWriter(buffered)
	_ = c.Write(reportHeader) // an error stays until Flush
	record := make([]string, 0, len(reportHeader))
	err := l.Report(ctx, key, outcomes, func(x ledger.Line) error {
		record = appendRecord(record[:0], x)
		return c.Write(record)
	})
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return first(err, buffered.Flush)
}

func first(err error, last func() error) error {
	if lastErr := last(); err == nil {
		return lastErr
	}
	return err
}

func appendRecord(record []string, x ledger.Line) []string {
	code, at := "", ""
	if x.Code != 0 {
		code = strconv.Itoa(int(x.Code))
	}
	if x.At != nil {
		at = x.At.UTC().Format(time.RFC3339)
	}
	return append(record, guard(x.Address), string(x.Outcome), strconv.Itoa(int(x.Attempts)), strconv.FormatBool(x.PossiblyTwice),
		guard(x.DropPoint), code, guard(x.Enhanced), guard(x.Reply), at)
}

// guard makes a value harmless in a spreadsheet, where one that begins with = + - or @ is a formula. Local parts may begin so, and
// replies are written by others.
func guard(s string) string {
	s = clean(s)
	if s != "" && strings.ContainsRune("=+-@", rune(strings.TrimLeft(s, " ")[:1][0])) {
		return "'" + s
	}
	return s
}
