package droppoint

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/stoppable"
)

const (
	// maxSecret is the size limit of what a password's file or command gives.
	maxSecret = 64 << 10
	// commandTimeout is how long a password's command may run.
	commandTimeout = 30 * time.Second
)

// mechanisms are the values of the parameter auth.
var mechanisms = map[string]string{"": "", "plain": "PLAIN", "login": "LOGIN", "cram-md5": "CRAM-MD5",
	"scram-sha-256": "SCRAM-SHA-256", "xoauth2": "XOAUTH2"}

// logIn reads the user, where the password comes from, and the mechanism.
func logIn(o *smtp.Options, u *url.URL, p *params) error {
	password, hasPassword := u.User.Password()
	secret := &secret{file: p.take("password_file"), command: strings.Fields(p.take("password_command")),
		timeout: commandTimeout}
	var sources int
	for _, given := range []bool{hasPassword && password != "", secret.file != "", len(secret.command) > 0} {
		if given {
			sources++
		}
	}
	mechanism, known := mechanisms[strings.ToLower(p.take("auth"))]
	switch {
	case sources > 1:
		return errors.New("it has more than one password: give it in the URL, by password_file " +
			"or by password_command")
	case (o.Username == "") != (sources == 0):
		return errors.New("its URL must have both a user and a password (or password_file " +
			"or password_command), or neither")
	case !known, mechanism != "" && sources == 0:
		return errors.New("auth must be plain, login, cram-md5, scram-sha-256 or xoauth2, with a user " +
			"and a password; for xoauth2 the password is an access token")
	}
	o.Password, o.Mechanism = password, mechanism
	if secret.file != "" || len(secret.command) > 0 {
		o.ReadPassword = secret.read
	}
	return nil
}

// secret is a password that is read again at each log-in.
type secret struct {
	file    string
	command []string // program and arguments
	timeout time.Duration
	runs    singleflight.Group
}

// read returns the password. Its errors quote neither the password nor the file nor the command:
// any of them may be the password by mistake. Log-ins that come while the command runs share its
// answer.
func (s *secret) read(ctx context.Context) (string, error) {
	result := s.runs.DoChan("", func() (any, error) { return s.readNow(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-result:
		text, _ := r.Val.(string)
		return text, r.Err
	}
}

func (s *secret) readNow(ctx context.Context) (string, error) {
	if s.file != "" {
		content, err := stoppable.ReadFile(s.file, maxSecret)
		if err != nil {
			return "", fmt.Errorf("password_file cannot be read: %w", reason(err))
		}
		return oneLine("password_file", content)
	}
	content, err := s.run(ctx)
	if err != nil {
		return "", fmt.Errorf("password_command %w", err)
	}
	return oneLine("password_command", content)
}

// run runs the command without a shell. What it writes to its standard error is thrown away: it may
// contain the password.
func (s *secret) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	killChildrenToo(cmd)
	cmd.WaitDelay = time.Second // for children that keep the output open all the same
	out := &limited{}
	cmd.Stdout = out
	err := cmd.Run()
	var exit *exec.ExitError
	var notFound *exec.Error
	switch {
	case len(out.text) > maxSecret: // it was ended for that
		return out.text, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("did not end within %s", s.timeout)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("failed: %s", exit.ProcessState)
	case errors.As(err, &notFound):
		return nil, fmt.Errorf("cannot be run: %w", reason(notFound.Err))
	case err != nil:
		return nil, fmt.Errorf("cannot be run: %w", reason(err))
	}
	return out.text, nil
}

// limited keeps what is written to it, until it is too much.
type limited struct{ text []byte }

// Write fails after maxSecret octets.
func (l *limited) Write(p []byte) (int, error) {
	l.text = append(l.text, p[:min(len(p), maxSecret+1-len(l.text))]...)
	if len(l.text) > maxSecret {
		return 0, errors.New("too much output")
	}
	return len(p), nil
}

// oneLine returns the password that the content is, without the end of its line.
func oneLine(what string, content []byte) (string, error) {
	text := strings.TrimRight(string(content), "\r\n")
	switch {
	case text == "":
		return "", errors.New(what + " gives nothing")
	case len(text) > maxSecret:
		return "", errors.New(what + " gives more than 64 KiB")
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", errors.New(what + " gives more than one line")
	}
	return text, nil
}
