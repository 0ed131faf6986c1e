package statuscolumn_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"directmailer/internal/audience/statuscolumn"
)

// decide returns whether a column says who may be mailed, and which of its values may be mailed.
func decide(header string, values ...string) (found bool, active string) {
	c := statuscolumn.New(header)
	var may []string
	for _, v := range values {
		c.Add(v)
		if c.Kind().MayBeMailed(v) {
			may = append(may, cmp.Or(v, "-"))
		}
	}
	return c.Found(), strings.Join(may, " ")
}

func TestAColumnThatSaysWhoMayBeMailedIsFoundByItsNameAndItsValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ header, values, active string }{
		// exports
		{"status", "enabled disabled blocklisted", "enabled"},                                        // listmonk
		{"subscription_status", "confirmed unconfirmed unsubscribed", "confirmed"},                   // listmonk
		{"Email Marketing", "Subscribed Unsubscribed Non-subscribed Cleaned", "Subscribed"},          // Mailchimp
		{"UNSUB_TIME", "2026-01-31/10:00 -", "-"},                                                    // Mailchimp
		{"CLEAN_TIME", "2026-01-31 -", "-"},                                                          // Mailchimp
		{"EMAIL_BLACKLISTED", "FALSE TRUE", "FALSE"},                                                 // Brevo
		{"DOUBLE_OPT-IN", "Yes No", "Yes"},                                                           // Brevo
		{"doNotContact", "0 1 3", "0"},                                                               // Mautic
		{"Status", "active unsubscribed unreachable", "active"},                                      // Keila
		{"Unsubscribed from all email", "true - false", "- false"},                                   // HubSpot
		{"Email hard bounce reason", "CONTENT - OTHER", "-"},                                         // HubSpot
		{"Marketing contact status", "Non-marketing/contact Marketing/contact", "Marketing/contact"}, // HubSpot
		{"Email Opt Out", "0 1", "0"},
		{"HasOptedOutOfEmail", "false true", "false"},
		{"Accepts Email Marketing", "yes no", "yes"},
		{"subscribed_to_emails", "true false", "true"},
		{"Status", "Aktiv Abgemeldet", "Aktiv"},
		{"Statut", "abonné désabonné", "abonné"},
		{"Estado", "activo baja", "activo"},
		{"Stato", "iscritto disiscritto", "iscritto"},
		{"Newsletter", "ja nein", "ja"},
		{"Newsletter", "weekly monthly none", ""},
		{"подписка", "да нет", "да"},
		{"ステータス", "配信中 配信停止", "配信中"},
		{"状态", "已订阅 已退订", "已订阅"},
		{"deactivated", "0 1760000000", "0"},
		{"deleted_at", "- 2026-01-31", "-"},
		{"confirmed", "2026-01-31 -", "2026-01-31"},
		{"subscribed", "no no", ""},
		{"subscribed", "yes -", "yes"},
		{"Consent", "granted withdrawn", "granted"},
		{"Cleaned", "- 2026-01-31", "-"},
		{"Werbesperre", "- J", "-"},
		{"Data de cancelamento", "- 31.01.2026", "-"},
		{"Status", "1 0", "1"},
		{"opt-in", "T F", "T"},
		{"Do not allow Emails", "Allow Do/Not/Allow", "Allow"}, // Dynamics
		{"SMS and email consent", "yes no", "yes"},
		{"Web form marketing consent", "yes no", "yes"},
		{"Consent", "given not/given", "given"},
		{"nieuwsbrief", "ja nee", "ja"},
		{"Werbeeinwilligung", "ja nein", "ja"},
		{"Status", "active Unsubscribed/(via/link) Bounced:/full Inactive/(asked)", "active"},
		// a consent that is not given, or has been taken back
		{"No consent", "yes no -", "no -"},
		{"Consent withdrawn", "yes no", "no"},
		{"Consent revoked at", "2026-01-31 -", "-"},
		{"Do not subscribe", "TRUE FALSE", "FALSE"},
		{"Has not withdrawn consent", "yes no", "yes"},
		{"Exclude from newsletter", "1 0", "0"},
		{"Stop marketing emails", "Y N", "N"},
		{"Declined newsletter", "yes no", "no"},
		{"Newslettersperre", "ja nein", "nein"},
		{"Newsletterabmeldung", "31.01.2026 -", "-"},
		{"Einwilligung widerrufen am", "31.01.2026 -", "-"},
		{"Werbewiderspruch", "J N", "N"},
		{"GDPR erasure requested", "yes no", "no"},
		{"No Marketing", "Y N", "N"},
		{"Consentement retiré", "oui non", "non"},
		{"Non abonné", "oui non", "non"},
		{"Newsletter Ankündigungen", "ja nein", "ja"},
		{"Non-profit newsletter", "yes no", "yes"},
		{"Retirement newsletter", "yes no", "yes"},
		// by values alone
		{"Segment 7", "subscribed Unsubscribed", "subscribed"},
		{"Bulk Email", "Allow Do/Not/Allow", "Allow"},
		{"note", "hello opted-out", ""},
		{"x", "active bounced", "active"},
	} {
		values := strings.Fields(c.values)
		for i, v := range values {
			if v = strings.ReplaceAll(v, "/", " "); v == "-" {
				v = ""
			}
			values[i] = v
		}
		found, active := decide(c.header, values...)
		if want := strings.ReplaceAll(c.active, "/", " "); !found || active != want {
			t.Errorf("%s with %q: found %v, active %q, want %q", c.header, values, found, active, want)
		}
	}
}

func TestAColumnAboutSomethingElseIsNotTakenForOne(t *testing.T) {
	t.Parallel()
	for header, values := range map[string]string{
		"Status":                   "gold silver",
		"status ":                  "active active",
		"Order status":             "shipped pending cancelled",
		"Lead status":              "new open unqualified closed",
		"State":                    "CA NY OR",
		"Unsubscribed":             "no no",
		"EMAIL_BLACKLISTED":        "false 0",
		"SMS_BLACKLISTED":          "true false",
		"SMS status":               "unsubscribed",
		"OPTIN_TIME":               "2026-01-31 -",
		"Subscription plan":        "gold none",
		"unsubscribe_url":          "https://example.com/u/1 https://example.com/u/2",
		"cleaned_email":            "ada@example.com",
		"cleaned_phone":            "+49 123",
		"Unsubscribe":              "https://example.com/u/1",
		"bounce rate":              "0 3",
		"Marketing emails bounced": "0 3",
		"Active projects":          "0 12 3",
		"plan":                     "gold none",
		"first_name":               "Bounce Ada No",
		"country":                  "NO SE",
		"vip":                      "yes no",
		"room":                     "cleaned dirty",
		"confirmed_guests":         "0 2 4",
		"newsletter":               "weekly monthly",
		"SMS Marketing Consent":    "SUBSCRIBED NEVER_SUBSCRIBED",
		"SMS marketing status":     "yes no",
		"WhatsApp opt-in":          "yes no",
		"No. of newsletters":       "3 0 1",
		"Estado":                   "Jalisco Baja_California",
	} {
		values := strings.Fields(strings.ReplaceAll(values, " - ", "  "))
		if found, _ := decide(header, values...); found {
			t.Errorf("%s with %q is taken for a status column", header, values)
		}
	}
}

func TestAWordThatComesAfterManyOtherValuesIsFound(t *testing.T) {
	t.Parallel()
	for header, value := range map[string]string{"segment": "Unsubscribed", "bounced": "hard", "備考": "退订"} {
		c := statuscolumn.New(header)
		for i := range 5000 {
			if header == "bounced" {
				c.Add("")
			} else {
				c.Add(fmt.Sprint("value ", max(i, 1))) // the first one twice
			}
		}
		if c.Found() {
			t.Errorf("%s is found without %s", header, value)
		}
		c.Add(value)
		if !c.Found() {
			t.Errorf("%s with %s is not found", header, value)
		}
		r := c.Report(1)
		rows := r.Others
		for _, v := range r.Values {
			rows += v.Rows
		}
		if rows != 5001 || len(r.Values) > 20 {
			t.Errorf("%s: %d rows are counted in %d values and %d others", header, rows, len(r.Values), r.Others)
		}
	}
}

// In a column such as this, every value but a few says that the person must not be mailed.
func TestAColumnOfManyDifferentTimesIsFound(t *testing.T) {
	t.Parallel()
	c := statuscolumn.New("unsubscribed_at")
	for i := range 100 {
		c.Add(fmt.Sprintf("2026-01-31 10:%02d:%02d", i/60, i%60))
		c.Add("0000-00-00 00:00:00") // of MySQL: never
	}
	if !c.Found() || !c.Kind().MayBeMailed("0000-00-00 00:00:00") {
		t.Error("is not found, or means those who never left")
	}
}

func TestBlanksAroundAWordChangeNothing(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"unsubscribed", " unsubscribed ", "unsubscribed" + strings.Repeat(" ", 60)} {
		if statuscolumn.WordOf(value) != statuscolumn.Clear {
			t.Errorf("%q says nothing", value)
		}
	}
}

func TestAReportNamesWordsAndNobodysData(t *testing.T) {
	t.Parallel()
	c := statuscolumn.New("Unsubscribed because")
	for range 3 {
		c.Add("")
	}
	c.Add("bob@example.com asked")
	c.Add("Unsubscribed Bob Miller")
	c.Add("bounced")
	if got := c.Report(4).String(); got != "column 4 (Unsubscribed because) says who may be mailed: "+
		"3 active ((empty) 3), 3 not (Unsubscribed Bob Miller 1, bounced 1, other values 1)" {
		t.Error(got)
	}
	if got := c.Report(4).WithoutData().String(); got != "column 4 (Unsubscribed because) says who may be mailed: "+
		"3 active ((empty) 3), 3 not (bounced 1, other values 2)" {
		t.Error(got)
	}
}

func BenchmarkAdd(b *testing.B) {
	columns := []*statuscolumn.Column{statuscolumn.New("first_name"), statuscolumn.New("status"), statuscolumn.New("city")}
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("Ümit %d", i)
		if i%2 == 0 {
			names[i] = fmt.Sprintf("Ada %d", i)
		}
	}
	for i := 0; b.Loop(); i++ {
		columns[0].Add(names[i%1000])
		columns[1].Add("active")
		columns[2].Add(names[i%1000][:4])
	}
}
