// Command docs writes the reference of the command line from the commands themselves: Markdown into
// docs/cli, and man pages where -man says. Run it by `make docs`.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"directmailer/starter/internal/cli"
)

func main() {
	markdown := flag.String("markdown", "docs/cli", "folder for the Markdown pages, which are replaced")
	man := flag.String("man", "", "folder for the man pages (default: none)")
	flag.Parse()
	err := writeMarkdown(*markdown)
	if err == nil && *man != "" {
		err = writeMan(*man)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// writeMarkdown replaces the pages in the folder.
func writeMarkdown(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := cli.Documented()
	prepare(root)
	if err := doc.GenMarkdownTree(root, dir); err != nil {
		return err
	}
	for _, topic := range root.Commands() {
		if !topic.IsAdditionalHelpTopicCommand() {
			continue
		}
		page := fmt.Sprintf("## %s\n\n%s\n\n%s\n", topic.CommandPath(), topic.Short, topic.Long)
		if err := os.WriteFile(filepath.Join(dir, pageName(topic)), []byte(page), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), index(root), 0o644)
}

// prepare makes the help texts fit for Markdown.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true // it has the date
	cmd.Long = fenced(cmd.Long)
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
}

// fenced makes code blocks of indented lines, so that their line breaks stay.
func fenced(text string) string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !inside:
			out = append(out, "```")
		case !indented && inside && line != "":
			out = closed(out)
		}
		inside = indented || inside && line == ""
		out = append(out, line)
	}
	if inside {
		out = closed(out)
	}
	return strings.Join(out, "\n")
}

// closed ends a code block, before the blank line that follows it.
func closed(lines []string) []string {
	if n := len(lines); lines[n-1] == "" {
		return append(lines[:n-1], "```", "")
	}
	return append(lines, "```")
}

func pageName(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", "_") + ".md"
}

// index lists all pages.
func index(root *cobra.Command) []byte {
	var b strings.Builder
	b.WriteString("# CLI reference\n\n`make docs` writes these pages from the commands. " +
		"The commands of a mailing have short forms: `starter show` is short for `starter mailing show`.\n\n" +
		"| command | what it does |\n| --- | --- |\n")
	var list func(cmd *cobra.Command)
	list = func(cmd *cobra.Command) {
		if cmd.Name() != "help" && (cmd.IsAvailableCommand() || cmd.IsAdditionalHelpTopicCommand()) {
			fmt.Fprintf(
				&b,
				"| [%s](%s) | %s |\n",
				cmd.CommandPath(),
				pageName(cmd),
				strings.ReplaceAll(cmd.Short, "|", `\|`),
			)
		}
		for _, sub := range cmd.Commands() {
			list(sub)
		}
	}
	list(root)
	return []byte(b.String())
}

// writeMan writes the man pages. Their date is fixed, so the same commands give the same pages.
func writeMan(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := cli.Documented()
	prepare(root)
	date := time.Unix(0, 0).UTC()
	return doc.GenManTree(
		root,
		&doc.GenManHeader{
			Title:   "STARTER",
			Section: "1",
			Source:  "Direct Mailer",
			Manual:  "Direct Mailer",
			Date:    &date,
		},
		dir,
	)
}
