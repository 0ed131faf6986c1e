package bounces

import (
	"errors"
	"mime"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/feedback/events"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// unread is a report that nobody could read, as `starter bounces ls` lists it.
type unread struct {
	Key        int64         `json:"key"`
	ReceivedAt time.Time     `json:"received_at"`
	Mailing    string        `json:"mailing"`
	Address    string        `json:"address"`
	Origin     events.Origin `json:"origin"`
	Size       int64         `json:"size"`
	Subject    string        `json:"subject"`
}

var unreadTable = output.Table[unread]{
	{Title: "key", Right: true, Cell: func(u unread) string { return strconv.FormatInt(u.Key, 10) }},
	{Title: "received", Cell: func(u unread) string { return output.Minute(u.ReceivedAt) }},
	{Title: "mailing", Wrap: 24, Cell: func(u unread) string { return u.Mailing }},
	{Title: "recipient", Wrap: 24, Cell: func(u unread) string { return output.Clean(u.Address) }},
	{Title: "subject", Wrap: 24, Cell: func(u unread) string { return output.Clean(u.Subject) }},
}

func (a *app) lsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List reports that could not be understood, newest first",
		Long: `Lists messages that came back for a recipient and could not be understood. They do nothing, and
are kept for a person to look at: for 30 days, at most 1,000 of them, five of each recipient.`,
		Example: "  starter bounces ls\n  starter bounces ls --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		var all []unread
		err = s.Events.Unread(cmd.Context(), func(u events.Unread) error {
			all = append(all, unread{u.Key, u.ReceivedAt, u.Mailing, u.Address, u.Origin, u.Size, subjectOf(u.Content)})
			return nil
		})
		if err != nil {
			return err
		}
		return unreadTable.Write(a.Out, format, all)
	}
	return cmd
}

// subjectOf returns the subject of a message, or "".
func subjectOf(content []byte) string {
	m, err := mail.ReadMessage(strings.NewReader(string(content) + "\r\n\r\n"))
	if err != nil {
		return ""
	}
	subject := m.Header.Get("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(subject); err == nil {
		subject = decoded
	}
	return subject
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show KEY",
		Short: "Print a report that could not be understood",
		Long: `Prints the beginning of a message that could not be understood, up to 64 KiB. The message was
written by a stranger: characters that control a terminal are replaced by blanks.`,
		Example: "  starter bounces show 12",
		Args:    command.Needs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || key < 1 {
				return exit.Usagef("%q is not the key of a report: see `starter bounces ls`", output.Typed(args[0]))
			}
			s, err := command.OpenStore(cmd.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			u, err := s.Events.UnreadReport(cmd.Context(), key)
			if errors.Is(err, events.ErrNoReport) {
				return exit.Errorf(exit.NotFound, "no report has the key %d: see `starter bounces ls`", key)
			}
			if err != nil {
				return err
			}
			for line := range strings.Lines(strings.ToValidUTF8(string(u.Content), "\ufffd")) {
				if _, err := a.Out.Write([]byte(output.Clean(strings.TrimRight(line, "\r\n")) + "\n")); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
