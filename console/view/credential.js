// Asks for a credential where the server wants one.

import { credential, keepCredential } from "../protocol/credential.js";
import { setHidden, setText } from "./dom.js";

export class CredentialView {
  #form;
  #field;
  #why;

  /** `onGiven` is called when there is another credential. */
  constructor(form, onGiven) {
    this.#form = form;
    this.#field = form.querySelector("input");
    this.#why = form.querySelector("label");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!keepCredential(this.#field.value)) return this.#say("This is no token.");
      this.#field.value = "";
      this.hide();
      onGiven();
    });
  }

  /** Asks, unless it does already. */
  ask() {
    if (!this.#form.hidden) return;
    this.#say(credential() ? "The server does not take this token (any more)." : "The server wants a token.");
    setHidden(this.#form, false);
  }

  hide() {
    setHidden(this.#form, true);
  }

  #say(text) {
    setText(this.#why, text);
  }
}
