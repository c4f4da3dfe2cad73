"""Pairs of questions, written by hand for this project: `SAME` may share an answer, `TRAPS` must not.

Written before the threshold was chosen and before the verifier was run on them, from what people ask assistants:
customers of shops and banks, programmers, cooks, travellers, pupils. Every trap changes one thing for which the answer
changes (the kind says which), mostly in a sentence that is otherwise the same, so that its vector hardly moves. Each
second pair of each kind (`CALIBRATION`) was used to choose the threshold and to complete the lists of words; the others
(`HELD_OUT`) were not.
"""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    kind: str
    one: str
    other: str

    @property
    def same(self) -> bool:
        return self.kind in SAME_KINDS


SAME_KINDS = ("form", "polite", "synonym", "free")

_PAIRS = """
form | How do I cancel my order? | how can i cancel my order
form | What is the capital of France? | What's the capital of France?
form | How do I reset my password on Android? | On Android, how do I reset my password?
form | What are the opening hours on Sunday? | What are the opening hours on sunday
form | Explain the difference between TCP and UDP. | Explain the difference between UDP and TCP
form | How many days are in a leap year? | How many days does a leap year have?
form | Who wrote Pride and Prejudice? | who wrote Pride and Prejudice
form | How to boil an egg | How do you boil an egg?
form | What colour is the sky on Mars? | What color is the sky on Mars?
form | How do I organise my desktop icons? | How do I organize my desktop icons
form | Sort a list of numbers in Python | How do I sort a list of numbers in Python?
form | Which planets have rings? | which planets have rings??
form | How can I freeze bread? | How do I freeze bread?
form | What causes rainbows? | What is the cause of rainbows?
form | Is the museum open on Mondays? | is the museum open on Monday?
form | How do I export contacts to CSV? | How can I export my contacts to CSV?
form | What is three plus 4? | What is 3 plus four?
form | Convert 10 miles to km | convert 10 miles to kilometres
form | How much does a passport cost? | how much do passports cost?
form | Where is the nearest pharmacy? | Where's the nearest pharmacy
form | Does the warranty cover water damage? | Is water damage covered by the warranty?
form | How do you make pancakes? | How to make pancakes
form | When does the summer sale end? | when does the Summer Sale end?
form | What is photosynthesis? | what's photosynthesis
form | How many 250 ml cups are in 1,000 ml? | How many 250 ml cups are in 1000 ml?
polite | What is the population of Norway? | Could you tell me the population of Norway?
polite | How do I change a flat tyre? | Hi, can you show me how to change a flat tyre, please?
polite | How do I track my parcel? | Hello! I'd like to know how to track my parcel.
polite | What is the boiling point of ethanol? | Please tell me what the boiling point of ethanol is.
polite | Who painted the Mona Lisa? | Do you know who painted the Mona Lisa?
polite | Why is the sky blue? | I'm wondering why the sky is blue.
polite | When was the Eiffel Tower built? | Can you tell me when the Eiffel Tower was built?
polite | How does a heat pump work? | Could you please explain how a heat pump works?
polite | Write a haiku about autumn | Please write a haiku about autumn.
polite | What is a mutex? | hey, what is a mutex? thanks
polite | How do I renew my library card? | I want to know how to renew my library card
polite | Give a summary of Hamlet | Can you please give a summary of Hamlet?
polite | Where can I park near the station? | Would you tell me where I can park near the station?
polite | How long does shipping take? | Hi there, how long does shipping take please
polite | What is compound interest? | I would like to understand what compound interest is
polite | How do I update my billing address? | Quick question: how do I update my billing address?
polite | How many calories are in an apple? | Do you happen to know how many calories are in an apple?
polite | Translate "good morning" into Spanish | Could you translate "good morning" into Spanish?
polite | What does HTTP 404 mean? | okay so what does HTTP 404 mean?
polite | How do I remove red wine from a carpet? | Any idea how to remove red wine from a carpet?
synonym | How do I buy a gift card? | How do I purchase a gift card?
synonym | How do I delete my account? | How can I remove my account?
synonym | What is the fee for an international transfer? | What is the charge for an international transfer?
synonym | How do I fix a leaking tap? | How do I repair a leaking tap?
synonym | Where can I find cheap flights to Rome? | Where can I find inexpensive flights to Rome?
synonym | What are the advantages of solar panels? | What are the benefits of solar panels?
synonym | How do I modify my booking? | How do I change my booking?
synonym | How do I begin a podcast? | How do I start a podcast?
synonym | What are the symptoms of flu? | What are the signs of flu?
synonym | How do I iterate over a dictionary in Python? | How do I loop over a dict in Python?
synonym | What is the meaning of irony? | What is the definition of irony?
synonym | Which car is the fastest? | Which automobile is the quickest?
synonym | How do I delete a folder in Linux? | How do I remove a directory in Linux?
synonym | Who is the boss of a football team? | Who is the manager of a football team?
synonym | How do I get help with my phone? | How do I get support with my phone?
synonym | What is the difference between a virus and a worm? | What is the distinction between a virus and a worm?
synonym | How do I choose a good pillow? | How do I select a good pillow?
synonym | Is this medicine allowed for kids? | Is this medication allowed for children?
synonym | How do I answer a job offer? | How do I reply to a job offer?
synonym | When is the film shown? | When is the movie shown?
synonym | How do I set up Postgres on Ubuntu? | How do I set up PostgreSQL on Ubuntu?
synonym | How do I terminate my subscription? | How do I cancel my membership?
synonym | What are the drawbacks of remote work? | What are the disadvantages of remote work?
synonym | How do I compose a cover letter? | How do I write a cover letter?
synonym | Compute the area of a circle with radius 3 | Calculate the area of a circle with radius 3
free | How do I end my phone contract? | I don't want my phone contract any more, what do I have to do?
free | What is the capital of Australia? | Which city is Australia's capital?
free | How can I lose weight quickly? | What's the fastest way to drop some pounds?
free | How do I make my computer faster? | My PC is slow, what can I do to speed it up?
free | What time do you close? | Until when are you open?
free | How tall is Mount Everest? | What is the height of Mount Everest?
free | Who discovered penicillin? | Penicillin was discovered by whom?
free | How do I learn to play the guitar? | What's a good way to get started with guitar?
free | Why do cats purr? | What makes cats purr?
free | How do I get rid of ants? | There are ants in my kitchen, how do I get them out?
free | What should I cook for dinner tonight? | Any ideas for tonight's dinner?
free | How do I apply for a visa? | What do I need to do to get a visa?
free | Where is my order? | My order has not come yet, where is it?
free | What is machine learning? | Explain machine learning to me in simple words
free | How do I undo the last commit in git? | In git, how can I take back my most recent commit?
free | How old is the universe? | When did the universe begin, how many years ago?
free | Can I bring my dog into the restaurant? | Are dogs allowed in your restaurant?
free | What is the best time to visit Japan? | When should one travel to Japan?
free | How do I tie a tie? | Steps for tying a necktie
free | How do vaccines work? | What do vaccines do in the body?
negation | Can I take this with alcohol? | Can I not take this with alcohol?
negation | Which foods contain gluten? | Which foods don't contain gluten?
negation | Water the lawn tonight | Don't water the lawn tonight
negation | What happens if I renew my visa? | What happens if I do not renew my visa?
negation | Recipes with nuts | Recipes without nuts
negation | Is it legal to record a phone call? | Is it illegal to record a phone call?
negation | Is this mushroom safe to eat? | Is this mushroom unsafe to eat?
negation | Which countries are in the EU? | Which countries are not in the EU?
negation | How do I enable notifications? | How do I disable notifications?
negation | Is the bridge open in winter? | Is the bridge closed in winter?
negation | How do I turn on the alarm? | How do I turn off the alarm?
negation | What should I read before the exam? | What should I avoid before the exam?
negation | Select all rows where status is active | Select all rows where status is not active
negation | How do I log in to my account? | How do I log out of my account?
negation | List the flights that include a meal | List the flights that exclude a meal
negation | How can I increase my blood pressure? | How can I decrease my blood pressure?
negation | Why does my code compile? | Why does my code not compile?
negation | What are the advantages of nuclear power? | What are the disadvantages of nuclear power?
negation | Is the service available in my area? | Is the service unavailable in my area?
negation | Tips for someone who likes running | Tips for someone who dislikes running
negation | Everybody may enter | Nobody may enter
negation | Give me a joke that is funny | Give me a joke that is never funny
negation | Show emails with attachments | Show emails lacking attachments
negation | Is it correct that whales are fish? | Is it incorrect that whales are fish?
negation | Explain it with code | Explain it except for the code
number | What is 12% of 340? | What is 21% of 340?
number | Convert 10 miles to km | Convert 100 miles to km
number | Plan a 3 day trip to Rome | Plan a 5 day trip to Rome
number | Who won the World Cup in 2010? | Who won the World Cup in 2014?
number | What is the square root of 81? | What is the square root of 64?
number | Give three reasons to exercise | Give five reasons to exercise
number | How do I upgrade to Python 3.11? | How do I upgrade to Python 3.12?
number | Recipe for pancakes for 2 people | Recipe for pancakes for twenty people
number | What is 7 minus 3? | What is 3 minus 7?
number | Is 38.5 a fever? | Is 36.5 a fever?
number | Write a 100 word essay on bees | Write a 1000 word essay on bees
number | What happened on 9 November 1989? | What happened on 11 November 1989?
number | Divide 12 by 4 | Divide 4 by 12
number | Where is order 55102? | Where is order 55120?
number | What does HTTP 401 mean? | What does HTTP 404 mean?
number | Summarise chapter 1 of Emma | Summarise chapter 2 of Emma
number | A loan of $1,000 over ten years | A loan of $10,000 over ten years
number | What is the tax on an income of 50k? | What is the tax on an income of 80k?
number | How do I set the timeout to 5 seconds? | How do I set the timeout to 50 seconds?
number | The first president of the United States | The second president of the United States
number | Round 3.14159 to 2 digits | Round 3.14159 to 3 digits
number | Is flight BA117 on time? | Is flight BA171 on time?
number | What is half of 90? | What is a quarter of 90?
number | What can I do on a weekend in May? | What can I do on two weekends in May?
number | What is the dose at 12 years? | What is the dose at 2 years?
unit | Convert 5 miles to km | Convert 5 km to miles
unit | How far is 10 km in steps? | How far is 10 miles in steps?
unit | Set the oven to 200 celsius | Set the oven to 200 fahrenheit
unit | How many grams are in a cup of flour? | How many ounces are in a cup of flour?
unit | How much is 100 dollars in yen? | How much is 100 euros in yen?
unit | Take 5 mg twice a day | Take 5 g twice a day
unit | Is a file of 10 MB too large? | Is a file of 10 GB too large?
unit | How long is 90 minutes? | How long is 90 seconds?
unit | What is 30 degrees celsius in fahrenheit? | What is 30 degrees fahrenheit in celsius?
unit | Walk for 30 minutes a day | Walk for 30 minutes a week
unit | What does it cost per month? | What does it cost per year?
unit | Can I lift 50 kg? | Can I lift 50 lb?
unit | What is 20 pounds in kg? | What is 20 ounces in kg?
unit | Is $20 a fair tip? | Is €20 a fair tip?
unit | Does it draw 5 watts or more? | Does it draw 5 kilowatts or more?
entity | What is the weather in Paris? | What is the weather in London?
entity | How do I install Docker on Ubuntu? | How do I install Docker on Fedora?
entity | Who was Albert Einstein? | Who was Isaac Newton?
entity | What is the population of Iran? | What is the population of Iraq?
entity | How do I reverse a string in Java? | How do I reverse a string in JavaScript?
entity | Import my playlists from Deezer | Import my playlists from Tidal
entity | What is the capital of Slovakia? | What is the capital of Slovenia?
entity | Tell me about Washington state | Tell me about Washington the president
entity | Translate 'cat' into German | Translate 'cat' into Dutch
entity | What does `list.sort` return? | What does `list.sorted` return?
entity | How do I use read_csv? | How do I use read_json?
entity | What does the -r flag of cp do? | What does the -f flag of cp do?
entity | Is there a bus on Thursday? | Is there a bus on Friday?
entity | Summarise "Moby Dick" | Summarise "Emma"
entity | Is ibuprofen safe in pregnancy? | Is paracetamol safe in pregnancy?
entity | Write a letter to Anna | Write a letter to Emma
entity | What is the best phone by Apple? | What is the best phone by Samsung?
entity | What time is it in Tokyo? | What time is it in Sydney?
entity | How do I open /etc/hosts? | How do I open /etc/passwd?
entity | Does Alice manage Bob? | Does Bob manage Alice?
entity | How do I compare a float in Rust? | How do I compare a float in Go?
entity | When was the Battle of Hastings? | When was the Battle of Waterloo?
entity | What is GPT-4? | What is GPT-5?
entity | Mail it to ann@example.com | Mail it to bob@example.com
entity | What is the currency of Sweden? | What is the currency of Norway?
entity | is sam taller than kim? | is kim taller than sam?
entity | How do I cook salmon? | How do I cook tuna?
entity | What do cats eat? | What do dogs eat?
entity | Capital gains in the UK | Capital gains in the US
entity | Is the ferry to Dover late? | Is the ferry to Calais late?
language | What is the capital of France? | Was ist die Hauptstadt von Frankreich?
language | How do I cancel my order? | ¿Cómo cancelo mi pedido?
language | What is photosynthesis? | Qu'est-ce que la photosynthèse ?
language | Where is the station? | 车站在哪里？
language | Who wrote Faust? | Кто написал Фауста?
language | What is love? | Che cos'è l'amore?
language | Wie koche ich ein Ei? | Wie koche ich Reis?
language | Was kostet ein Pass? | Was kostet ein Visum?
language | ¿Dónde está mi pedido? | ¿Dónde está mi reembolso?
language | Ich mag Hunde | Ich mag keine Hunde
question | Who invented the telephone? | When was the telephone invented?
question | Where was Mozart born? | When was Mozart born?
question | How do I cancel my order? | Can I cancel my order?
question | How many moons has Mars? | Which moons has Mars?
question | Why do leaves fall? | When do leaves fall?
question | How much does it cost to ship? | How long does it take to ship?
question | How often should I water a cactus? | How should I water a cactus?
question | Should I buy a house? | Can I buy a house?
question | Who teaches maths? | Where do they teach maths?
question | How old is the bridge? | How long is the bridge?
question | Is the sun a star? | Why is the sun a star?
question | What is the price of the ticket? | What is the ticket?
question | When does the train leave? | Where does the train leave?
question | How far is the airport? | Where is the airport?
question | Will it rain tomorrow? | Did it rain yesterday?
words | How do I reset my password? | How do I reset my router?
words | What is the population of France? | What is the area of France?
words | What is a normal pulse for adults? | What is a normal pulse for babies?
words | How do I write a unit test? | How do I write a unit file?
words | Summarise this chapter for a child | Summarise this chapter for an expert
words | Tell me a joke about doctors | Tell me a story about doctors
words | How do I change my email address? | How do I change my postal address?
words | What is the largest city in Canada? | What is the smallest city in Canada?
words | How do I return a gift? | How do I wrap a gift?
words | How do I get a refund? | How do I get an exchange?
words | What did the markets do today? | What did the markets do yesterday?
words | Is it good for plants? | Is it bad for plants?
words | My car does not start in the morning | My car does not stop in the morning
words | Best restaurants in the old town | Worst restaurants in the old town
words | Explain recursion briefly | Explain recursion in detail
words | How do I freeze a column in a sheet? | How do I hide a column in a sheet?
words | Is the manager in the office today? | Was the manager in the office last week?
words | How do I treat a burn? | How do I treat a bite?
words | What is hypertension? | What is hypotension?
words | How do I open a savings account? | How do I open a business account?
words | Write a poem about the sea | Write an essay about the sea
words | Is the new phone waterproof? | Is the old phone waterproof?
words | Are the lights on the left? | Are the lights on the right?
words | Which is the highest mountain in Europe? | Which is the highest building in Europe?
words | How do I get from my password to my account? | How do I get to my colleague's account?
order | Convert celsius to fahrenheit | Convert fahrenheit to celsius
order | Translate this from English to French | Translate this from French to English
order | What comes before lunch after breakfast? | What comes before breakfast after lunch?
order | How do I migrate from MySQL to Postgres? | How do I migrate from Postgres to MySQL?
order | the dog bites the man | the man bites the dog
order | Do cats hunt mice? | Do mice hunt cats?
order | Flights from Berlin to Madrid | Flights from Madrid to Berlin
order | Is gold heavier than lead? | Is lead heavier than gold?
order | How do I call C from Python? | How do I call Python from C?
order | Subtract the tax from the price | Subtract the price from the tax
order | Can a landlord sue a tenant? | Can a tenant sue a landlord?
order | The teacher of my mother | The mother of my teacher
order | Why do parents leave children? | Why do children leave parents?
order | Copy the file over the backup | Copy the backup over the file
order | Should I eat before swimming? | Should I swim before eating?
"""

PAIRS = tuple(Pair(*(part.strip() for part in line.split(" | "))) for line in _PAIRS.strip().splitlines())


def _each_second(pairs: tuple[Pair, ...], first: int) -> tuple[Pair, ...]:
    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return tuple(pair for kind in kinds for pair in [one for one in pairs if one.kind == kind][first::2])


CALIBRATION, HELD_OUT = _each_second(PAIRS, 0), _each_second(PAIRS, 1)
