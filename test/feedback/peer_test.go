// Package feedback shows what mail that comes back does: bounces, complaints and requests, from
// peers that know only the addresses in the messages that they received.
package feedback

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback/token"
	"directmailer/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

const (
	secret = "a-key-that-is-only-for-tests-0123456789"
	domain = "bounce.example.com"
)

// keys are those of the workers.
var keys, _ = token.ParseKeys(secret)

// environment is that of a worker that has bounce addresses, and receives mail at an address.
func environment(address string) []string {
	return []string{"DM_TOKEN_KEYS=" + secret, "DM_BOUNCE_DOMAIN=" + domain, "DM_INBOUND_ADDRESS=smtp://" + address}
}

// dsn is the report (RFC 3464) that a server makes of a message that it has accepted: it goes to
// the envelope sender.
func dsn(m smtptest.Message, status string) string {
	return fmt.Sprintf("From: MAILER-DAEMON@mx.example.org\r\nTo: <%s>\r\nMessage-ID: <%s.%s@mx.example.org>\r\n"+
		"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; "+
		"report-type=delivery-status; boundary=x\r\n\r\n"+
		"--x\r\n\r\nYour message was not delivered.\r\n--x\r\nContent-Type: "+
		"message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n"+
		"\r\nFinal-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: %s\r\nDiagnostic-Code: smtp; 550 %s no such "+
		"user\r\n\r\n--x--\r\n",
		m.From, status, strings.ReplaceAll(m.To, "@", "-"), m.To, status, status)
}

// arf is a complaint (RFC 5965) about a message.
func arf(m smtptest.Message) string {
	return fmt.Sprintf("From: fbl@isp.example\r\nTo: <%s>\r\nMessage-ID: <arf.%s@isp.example>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/report; report-type=feedback-report; boundary=x\r\n\r\n"+
		"--x\r\n\r\nThis is an abuse report.\r\n--x\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: "+
		"abuse\r\n"+
		"User-Agent: isp/1.0\r\nVersion: 1\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: "+
		"news@example.com\r\nSubject: news\r\n\r\nx\r\n--x--\r\n",
		m.From, strings.ReplaceAll(m.To, "@", "-"))
}

// deliver sends a message to a listener, as a server does: again and again until it is accepted, or
// refused for good.
func deliver(r *rig.Rig, address, to, text string) error {
	for deadline := time.Now().Add(rig.Timeout); ; time.Sleep(50 * time.Millisecond) {
		err := deliverOnce(address, to, text)
		var refused *smtp.SMTPError
		if err == nil || errors.As(err, &refused) && refused.Code >= 500 || time.Now().After(deadline) ||
			r.Context().Err() != nil {
			return err
		}
	}
}

// deliverOnce is one try.
func deliverOnce(address, to, text string) error {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	c := smtp.NewClient(conn)
	defer c.Close()
	defer time.AfterFunc(2*time.Minute, func() { _ = conn.Close() }).Stop() // c's own deadlines are longer
	if err := c.Mail("", nil); err != nil {
		return err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return w.Close()
}

// sentTo returns the messages that a server has received, by recipient.
func sentTo(s *smtptest.Server) map[string]smtptest.Message {
	all := map[string]smtptest.Message{}
	for _, m := range s.Received() {
		all[m.To] = m
	}
	return all
}

// texts returns the first column of a query, sorted.
func texts(r *rig.Rig, sql string, args ...any) []string {
	r.Helper()
	rows, err := r.Pool.Query(r.Context(), sql, args...)
	if err != nil {
		r.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		r.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// locksOn is a query for the locks of a table. In the databases of other tests, the table has the
// same number.
func locksOn(table string) string {
	return `SELECT 'x' FROM pg_locks WHERE relation = '` + table + `'::regclass
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
}

const allEvents = `
	SELECT m.id || ': ' || r.address || ' ' || e.class || ' ' || e.origin
	FROM events e JOIN mailings m ON m.key = e.mailing
	JOIN recipients r ON r.mailing = e.mailing AND r.number = e.recipient`
