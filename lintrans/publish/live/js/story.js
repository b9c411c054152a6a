// The story: six experiments, each with a prediction first.
class Story {
  constructor(page) {
    this.page = page;
    const steps = page.$(".lab-steps"), guess = page.$(".lab-guess"), output = guess.parentElement.querySelector("output");
    const shown = () => { output.textContent = `${short(10 ** guess.value)}×`; guess.setAttribute("aria-valuetext", `${short(10 ** guess.value)} times`); };
    guess.oninput = shown;
    shown();
    page.data.story.forEach((step, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${index + 1} ${step.title}`;
      button.setAttribute("aria-pressed", "false");
      button.onclick = () => this.open(index);
      steps.append(button);
    });
    page.$(".lab-go").onclick = () => {
      this.guessed = 10 ** guess.value;
      page.$(".lab-watch").textContent = this.step.watch;
      page.$(".lab-chapter").hidden = false;
      page.$(".lab-answer").textContent = "";
      page.restart(true);
    };
  }

  open(index) {
    const { page } = this;
    this.step = page.data.story[index];
    this.guessed = null;
    [...page.$(".lab-steps").children].forEach((button, k) => button.setAttribute("aria-pressed", String(k === index)));
    page.$(".lab-card").hidden = false;
    page.$(".lab-question").textContent = this.step.question;
    page.$(".lab-watch").textContent = "";
    page.$(".lab-chapter").hidden = true;
    const link = page.$(".lab-chapter a");
    link.textContent = this.step.claim;
    link.href = `${this.step.chapter}.html`;
    page.$(".lab-answer").textContent = "";
    history.replaceState(null, "", `#preset=${this.step.preset}`);
    page.read();
  }

  finished() {
    if (!this.guessed) return;
    const gap = this.page.gap(), off = Math.abs(Math.log(gap / this.guessed));
    const words = !Number.isFinite(gap) ? "a run was lost, so there is no ratio" : `it came out ${short(gap)}×${off < Math.log(1.25) ? ": well predicted" : ""}`;
    this.page.$(".lab-answer").textContent = `You said ${short(this.guessed)}×; ${words}.`;
  }
}
