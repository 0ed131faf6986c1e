package unsubscribe

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// form is what a POST says.
type form struct {
	oneClick bool // from a mail program, not from the page
	choice   choice
	undo     string // the proof of the page that offers it; "": the form does not undo
}

var errForm = errors.New("the body is not a form of this page, nor one of RFC 8058")

// readForm reads the body of a POST. A body that says nothing known is an error: a POST by accident
// must not act.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	values, err := readValues(r, http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return form{}, err
	}
	f := form{undo: values.Get("undo")}
	switch values.Get("scope") {
	case "this":
		return f, nil
	case "all":
		f.choice = leaveAll
		return f, nil
	}
	// RFC 8058, 3.2, gives the letters. Some programs write them in another case.
	if f.undo == "" && strings.EqualFold(values.Get("List-Unsubscribe"), "One-Click") {
		return form{oneClick: true}, nil
	}
	return form{}, errForm
}

// readValues reads a form in either encoding.
func readValues(r *http.Request, body io.Reader) (url.Values, error) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		return readParts(multipart.NewReader(body, parameters["boundary"]))
	case err == nil && kind != "application/x-www-form-urlencoded" && kind != "text/plain":
		return nil, errForm
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(strings.TrimSpace(string(text)))
}

// maxParts limits the parts of a multipart form.
const maxParts = 8

func readParts(parts *multipart.Reader) (url.Values, error) {
	values := url.Values{}
	for range maxParts {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		values.Add(part.FormName(), strings.TrimSpace(string(text)))
	}
	return nil, errForm
}
